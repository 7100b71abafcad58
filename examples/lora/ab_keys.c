#include "ab_keys.h"

#include <inttypes.h>
#include <termios.h>
#include <unistd.h>

typedef enum key { KEY_NONE, KEY_LEFT, KEY_RIGHT, KEY_TIE, KEY_UNDO, KEY_QUIT } key;

// Keys come singly and unechoed; Ctrl-C still interrupts.
static bool make_raw(struct termios *before)
{
    if (!isatty(0) || tcgetattr(0, before) != 0) return false;
    struct termios raw = *before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(0, TCSANOW, &raw) == 0;
}

static int read_byte(void)
{
    unsigned char byte;
    return read(0, &byte, 1) == 1 ? byte : EOF;
}

// An arrow key sends ESC [ or ESC O and a letter.
static key read_key(void)
{
    int byte = read_byte();
    switch (byte) {
    case '1': case 'a': return KEY_LEFT;
    case '2': case 'b': return KEY_RIGHT;
    case '=': case '0': return KEY_TIE;
    case 'u': return KEY_UNDO;
    case 'q': case 4: case EOF: return KEY_QUIT;
    case 27:
        byte = read_byte();
        if (byte != '[' && byte != 'O') return KEY_NONE;
        byte = read_byte();
        return byte == 'D' ? KEY_LEFT : byte == 'C' ? KEY_RIGHT : KEY_NONE;
    default: return KEY_NONE;
    }
}

static void show(const application *app, const lora_ab_item *item)
{
    if (app->json || app->quiet) return;
    printf("\n── %" PRId64 "/%" PRId64 " ──────────────────────────────────────\n%s\n\n%s\n%s\n\n%s\n%s\n\n%s ",
           item->done + 1, item->total, item->prompt, say(app, "[1] ←", "[1] ←"), item->left,
           say(app, "[2] →", "[2] →"), item->right,
           say(app, "better? 1, 2, = tie, u undo, q stop:", "哪个更好？1、2、= 平局、u 撤销、q 停下："));
    fflush(stdout);
}

static lora_status take(lora_ab *test, const char *judge, int64_t index, key pressed)
{
    if (pressed == KEY_UNDO) return lora_ab_undo(test, judge, NULL);
    return lora_ab_verdict(test, judge, index,
                           pressed == KEY_LEFT    ? LORA_AB_LEFT
                           : pressed == KEY_RIGHT ? LORA_AB_RIGHT
                                                  : LORA_AB_TIE);
}

static lora_status judge_all(const application *app, lora_ab *test, const char *judge, const char *path)
{
    lora_ab_item item = {.struct_size = sizeof item};
    lora_status status;
    while ((status = lora_ab_next(test, judge, &item)) == LORA_OK && item.index >= 0) {
        key pressed;
        show(app, &item);
        do pressed = read_key();
        while (pressed == KEY_NONE);
        if (!app->json && !app->quiet)
            printf("%s\n", pressed == KEY_LEFT    ? "1"
                           : pressed == KEY_RIGHT ? "2"
                           : pressed == KEY_TIE   ? "="
                           : pressed == KEY_UNDO  ? "u"
                                                  : "q");
        if (pressed == KEY_QUIT) return LORA_OK;
        status = take(test, judge, item.index, pressed);
        if (status == LORA_OK) status = lora_ab_save(test, path, 1);
        if (status != LORA_OK) return status;
    }
    return status;
}

// A terminal is as it was when the judging is interrupted.
static struct termios terminal_before;

static void restore_terminal(void *handle)
{
    (void)handle;
    tcsetattr(0, TCSANOW, &terminal_before);
    _exit(EXIT_INTERRUPTED);
}

int judge_by_keys(const application *app, lora_ab *test, const char *judge, const char *path)
{
    bool raw = make_raw(&terminal_before);
    if (raw) on_interrupt(restore_terminal, NULL);
    lora_status status = judge_all(app, test, judge, path);
    if (raw) on_interrupt(NULL, NULL);
    if (raw) tcsetattr(0, TCSANOW, &terminal_before);
    return status == LORA_OK ? EXIT_DONE : failed(app, status);
}
