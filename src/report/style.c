// The page's style: one accent colour, light and dark, narrow screens, paper.
#include "src/report/report.h"

const char *const lr_report_style[] = {
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1d2430;--soft:#5b6575;--line:#dde2ea;--card:#f5f7fa;"
    "--accent:#1f5fbf;--good:#1d7a46;--bad:#b3352b;"
    "--c0:#1f5fbf;--c1:#c2571a;--c2:#1d7a46;--c3:#8a3fa8;--c4:#8a6d00;--c5:#b3352b;--c6:#0f7d8c;--c7:#5b6575}\n",
    "@media(prefers-color-scheme:dark){:root{--paper:#14181f;--ink:#e6eaf1;--soft:#9aa5b5;--line:#2d3541;"
    "--card:#1c222c;--accent:#7fb0ff;--good:#6fce98;--bad:#ff8f85;"
    "--c0:#7fb0ff;--c1:#f2a26b;--c2:#6fce98;--c3:#d19bea;--c4:#d9bd55;--c5:#ff8f85;--c6:#6cc9d6;--c7:#9aa5b5}}\n",
    "*{box-sizing:border-box}\n",
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','PingFang SC','Microsoft YaHei',"
    "'Noto Sans CJK SC',sans-serif}\n",
    "main,header,footer{max-width:60rem;margin:0 auto;padding:0 1.25rem}\n",
    "header{padding-top:2.5rem}h1{font-size:1.75rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}\n",
    "h2{font-size:1.3rem;margin:2.5rem 0 .75rem;padding-bottom:.35rem;border-bottom:1px solid var(--line)}"
    "h3{font-size:1.05rem;margin:1.75rem 0 .5rem}\n",
    "p{margin:.5rem 0}.soft,header p,footer{color:var(--soft)}footer{padding:2rem 1.25rem 3rem;font-size:.85rem}\n",
    ".answer{background:var(--card);border-left:4px solid var(--accent);padding:.75rem 1rem;"
    "border-radius:0 .5rem .5rem 0;overflow-wrap:anywhere}\n",
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}"
    ".figures div{background:var(--card);border-radius:.5rem;padding:.6rem .8rem}\n",
    ".figures dt{color:var(--soft);font-size:.82rem}.figures dd{margin:0;font-size:1.2rem;font-weight:600;"
    "font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\n",
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem;"
    "font-variant-numeric:tabular-nums}th,td{text-align:left;padding:.4rem .7rem .4rem 0;"
    "border-bottom:1px solid var(--line);vertical-align:top}\n",
    "thead th{color:var(--soft);font-weight:600;font-size:.82rem;vertical-align:bottom}td.n,th.n{text-align:right;"
    "white-space:nowrap}.settings th{font-weight:500;color:var(--soft);width:14rem}"
    "td,.settings th{overflow-wrap:anywhere}\n",
    "tr.chosen{background:var(--card)}tr.chosen th{box-shadow:inset 4px 0 var(--accent);padding-left:.7rem}"
    "tbody th{font-weight:600}\n",
    "details{margin:.75rem 0}summary{cursor:pointer;font-weight:600;padding:.3rem 0}"
    ":focus-visible{outline:3px solid var(--accent);outline-offset:2px}\n",
    "figure{margin:1rem 0}svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:12px}"
    "svg .name{fill:var(--soft);font-size:12px}.axis line{stroke:var(--line)}\n",
    "polyline{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}circle{fill:var(--c)}"
    "circle.hover{fill-opacity:0}circle.hover:hover{fill-opacity:.35}.s0{--c:var(--c0)}.s1{--c:var(--c1)}"
    ".s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--c4)}.s5{--c:var(--c5)}.s6{--c:var(--c6)}.s7{--c:var(--c7)}\n",
    ".bar rect{fill:var(--c7);fill-opacity:.55}.bar.chosen rect{fill:var(--accent);fill-opacity:1}"
    ".bar text{fill:var(--ink);font-size:13px}.whisker{fill:none;stroke:var(--ink);stroke-width:1.5}\n",
    "figcaption{font-size:.85rem;color:var(--soft)}.key{margin-right:1rem}.key::before{content:'';"
    "display:inline-block;width:.9rem;height:.25rem;border-radius:2px;background:var(--c);margin-right:.4rem;"
    "vertical-align:middle}\n",
    ".sample{border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem;margin:.75rem 0;"
    "break-inside:avoid}.quote{margin:.35rem 0}.quote b{font-size:.8rem;color:var(--soft);font-weight:600}"
    ".quote p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}.quote.after p{color:var(--accent)}\n",
    ".hint{display:inline-block;background:var(--card);border-radius:1rem;padding:.05rem .6rem;"
    "margin:.1rem .3rem .1rem 0;font-size:.82rem}.error{color:var(--bad);font-weight:600}.warning{color:var(--c4);"
    "font-weight:600}.done{color:var(--good)}\n",
    "@media(max-width:40rem){body{font-size:15px}header{padding-top:1.5rem}svg text,svg .name{font-size:19px}"
    ".bar text{font-size:18px}.settings th{width:auto}}\n",
    "@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--card:#f3f3f3;"
    "--accent:#1f5fbf;--c0:#1f5fbf;--c1:#c2571a;--c2:#1d7a46;--c3:#8a3fa8;--c4:#8a6d00;--c5:#b3352b;--c6:#0f7d8c;"
    "--c7:#5b6575}\n",
    "body{font-size:10pt}main,header,footer{max-width:none;padding:0}header{padding-top:0}h2{margin-top:1.2rem}"
    "h2,h3,summary{break-after:avoid}figure,tr,.figures div,.sample{break-inside:avoid}.scroll{overflow:visible}"
    "table{font-size:8.5pt}th,td{padding-right:.5rem}a{color:inherit}@page{margin:16mm}}\n",
    NULL,
};
