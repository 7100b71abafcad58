#include "zip.h"

#include "files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_FILES 64
#define MOST_BYTES ((uint64_t)8 << 30) // unpacked
#define MOST_RATIO 200                 // unpacked bytes for each packed one

// ---- out -----------------------------------------------------------------------------------------------------------

typedef struct packer {
    struct archive *archive;
    const char *root;
    char buffer[65536];
    bool failed;
} packer;

static void pack_file(packer *p, const char *name)
{
    char *path = text_of("%s/%s", p->root, name);
    struct stat found;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (file >= 0 && fstat(file, &found) == 0 && S_ISREG(found.st_mode)) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname_utf8(entry, name);
        archive_entry_set_size(entry, found.st_size);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_mtime(entry, found.st_mtim.tv_sec, 0);
        p->failed |= archive_write_header(p->archive, entry) != ARCHIVE_OK;
        for (ssize_t got; !p->failed && (got = read(file, p->buffer, sizeof p->buffer)) > 0;)
            p->failed |= archive_write_data(p->archive, p->buffer, (size_t)got) != got;
        archive_entry_free(entry);
    }
    if (file >= 0) close(file);
    free(path);
}

static void pack_entry(const char *name, void *user)
{
    packer *p = user;
    if (!p->failed && strncmp(name, "checkpoint-", strlen("checkpoint-")) != 0) pack_file(p, name);
}

// Into a file without a name, so that nothing is left behind.
void answer_directory(request *r, const char *path, const char *name)
{
    char *folder = workspace_path(r->server, "uploads");
    int file = folder && make_directory(folder) ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    packer *p = file >= 0 ? malloc(sizeof *p) : NULL;
    free(folder);
    if (!p) {
        if (file >= 0) close(file);
        answer_errno(r, name);
        return;
    }
    *p = (packer){.archive = archive_write_new(), .root = path};
    archive_write_set_format_zip(p->archive);
    archive_write_set_options(p->archive, "zip:compression=store"); // weights do not get smaller
    p->failed = archive_write_open_fd(p->archive, file) != ARCHIVE_OK;
    if (!p->failed) each_entry(path, pack_entry, p);
    p->failed |= archive_write_close(p->archive) != ARCHIVE_OK;
    archive_write_free(p->archive);
    bool failed_to_pack = p->failed;
    free(p);
    if (!failed_to_pack) {
        lseek(file, 0, SEEK_SET);
        answer_file(r, file, "application/zip", name);
    } else {
        close(file);
        answer_error(r, 500, NULL, NULL, say(&r->words, "%s could not be packed", "无法打包 %s"), name);
    }
}

// ---- in ------------------------------------------------------------------------------------------------------------

typedef struct unpacker {
    request *request;
    struct archive *archive;
    const char *to;
    uint64_t bytes, most;
    int files;
    char buffer[65536];
} unpacker;

static bool refuse(unpacker *u, unsigned status, const char *text, const char *name)
{
    answer_error(u->request, status, "bad_zip", NULL, "%s: %.100s", text, name ? name : "");
    return false;
}

// The file's own name, or NULL for a path that leads elsewhere or deeper than one folder.
static const char *plain_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (*path == '/' || strchr(path, '\\') || strstr(path, "..") || strchr(path, ':')) return NULL;
    if (slash && memchr(path, '/', (size_t)(slash - path))) return NULL;
    return is_name(name) ? name : NULL;
}

static bool unpack_file(unpacker *u, const char *name)
{
    char *path = text_of("%s/%s", u->to, name);
    int file = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    free(path);
    if (file < 0) return refuse(u, 422, say(&u->request->words, "the zip has a file twice", "zip 中有重复的文件"), name);
    bool fine = true;
    for (ssize_t got; fine && (got = archive_read_data(u->archive, u->buffer, sizeof u->buffer)) != 0;) {
        if (got < 0) {
            fine = refuse(u, 422, say(&u->request->words, "the zip is damaged", "zip 已损坏"),
                          archive_error_string(u->archive));
        } else if ((u->bytes += (uint64_t)got) > u->most) {
            fine = refuse(u, 413, say(&u->request->words, "the zip unpacks to too much", "zip 解压后过大"), name);
        } else if (write(file, u->buffer, (size_t)got) != got) {
            answer_errno(u->request, name);
            fine = false;
        }
    }
    close(file);
    return fine;
}

static bool unpack_entry(unpacker *u, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    if (archive_entry_filetype(entry) == AE_IFDIR) return true;
    const char *name = path ? plain_name(path) : NULL;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return refuse(u, 400, say(&u->request->words, "the zip holds a link or special file", "zip 中含有链接或特殊文件"), path);
    if (!name)
        return refuse(
            u, 400, say(&u->request->words, "the zip holds a path that is not taken", "zip 中含有不允许的路径"), path);
    if (++u->files > MOST_FILES)
        return refuse(u, 413, say(&u->request->words, "the zip holds too many files", "zip 中的文件太多"), name);
    return unpack_file(u, name);
}

bool unpack_zip(request *r, const char *zip, const char *to)
{
    size_t packed = 0;
    struct archive_entry *entry;
    unpacker *u = calloc(1, sizeof *u);
    bool fine = u && file_size(zip, &packed) && make_directory(to);
    if (!fine) {
        answer_errno(r, "uploads");
        free(u);
        return false;
    }
    u->request = r, u->to = to, u->archive = archive_read_new();
    u->most = (uint64_t)packed * MOST_RATIO < MOST_BYTES ? (uint64_t)packed * MOST_RATIO : MOST_BYTES;
    archive_read_support_format_zip(u->archive);
    if (archive_read_open_filename(u->archive, zip, 65536) != ARCHIVE_OK)
        fine = refuse(u, 422, say(&r->words, "this is no zip file", "这不是 zip 文件"),
                      archive_error_string(u->archive));
    while (fine) {
        int status = archive_read_next_header(u->archive, &entry);
        if (status == ARCHIVE_EOF) break;
        fine = status == ARCHIVE_OK || status == ARCHIVE_WARN
                   ? unpack_entry(u, entry)
                   : refuse(u, 422,
                            say(&r->words, "this is no zip file, or it is damaged", "这不是 zip 文件，或已损坏"),
                            archive_error_string(u->archive));
    }
    if (fine && u->files == 0) fine = refuse(u, 422, say(&r->words, "the zip is empty", "zip 是空的"), NULL);
    archive_read_free(u->archive);
    free(u);
    return fine;
}
