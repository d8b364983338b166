/* A disk that loses power. Preloaded into the server, it keeps an image of one directory: what the disk itself holds.
 *
 * A write goes to the file as ever, and stays out of the image until the file is synced. Names of files get there when the
 * directory is synced. Before that each sector of a write, each new length and each name may get there all the same, by chance,
 * as an operating system writes back what it likes in any order. So the image is at any moment what a power loss at that
 * moment may leave, and the death of the process, at any moment, is the power loss.
 *
 * A write by a way that is not looked at here never gets into the image, so a test fails for it and does not pass.
 *
 * POWER_LOSS_DATA        the directory, by its canonical name
 * POWER_LOSS_IMAGE       `names` holds the files as the disk has them, `contents` the same files by the inode of the real one
 * POWER_LOSS_WRITE_BACK  how many of a hundred sectors get there before a sync
 * POWER_LOSS_SEED        of the chance
 * POWER_LOSS_AT_SYNC     at this sync the process dies with a part of it done; 0: at none
 * POWER_LOSS_SYNCS_LIE   syncs keep nothing and succeed: the control
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SECTOR = 512, MAX_FILES = 64 };

struct file {
    struct stat identity;
    int real, image;      /* never closed: the inode stays taken, and SQLite's locks are another handle's */
    unsigned char *dirty; /* one for each sector */
    size_t sectors;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[MAX_FILES];
static int count;
static const char *data, *image;
static unsigned write_back, syncs_lie;
static long at_sync;
static uint64_t state;

static void check(int holds, const char *what) {
    if (!holds) {
        dprintf(STDERR_FILENO, "disk.c: %s: %s\n", what, strerror(errno));
        abort();
    }
}

static long number(const char *name) {
    const char *value = getenv(name);
    return value ? strtol(value, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    data = getenv("POWER_LOSS_DATA");
    image = getenv("POWER_LOSS_IMAGE");
    check(data && image, "POWER_LOSS_DATA and POWER_LOSS_IMAGE");
    write_back = number("POWER_LOSS_WRITE_BACK");
    syncs_lie = number("POWER_LOSS_SYNCS_LIE");
    at_sync = number("POWER_LOSS_AT_SYNC");
    state = number("POWER_LOSS_SEED");
}

/* SplitMix64. */
static int chance(unsigned percent) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % 100 < percent;
}

static void content_path(char *path, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/contents/%lu", image, (unsigned long)inode);
}

/* The names in the directory become those on the disk. */
static void keep_names(void) {
    char real[PATH_MAX], kept[PATH_MAX], content[PATH_MAX], made[PATH_MAX];
    struct dirent *entry;
    struct stat status;
    DIR *names = opendir(data);
    check(names != NULL, "the directory");
    snprintf(made, sizeof made, "%s/made", image);
    while ((entry = readdir(names))) {
        snprintf(real, sizeof real, "%s/%s", data, entry->d_name);
        if (lstat(real, &status) != 0 || !S_ISREG(status.st_mode)) continue;
        content_path(content, status.st_ino);
        int handle = open(content, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        check(handle >= 0 && close(handle) == 0, "a content");
        snprintf(kept, sizeof kept, "%s/names/%s", image, entry->d_name);
        syscall(SYS_unlinkat, AT_FDCWD, made, 0);
        check(link(content, made) == 0 && rename(made, kept) == 0, "a name");
    }
    closedir(names);
    snprintf(kept, sizeof kept, "%s/names", image);
    names = opendir(kept);
    check(names != NULL, "the names");
    while ((entry = readdir(names))) {
        snprintf(real, sizeof real, "%s/%s", data, entry->d_name);
        snprintf(kept, sizeof kept, "%s/names/%s", image, entry->d_name);
        if (entry->d_name[0] != '.' && access(real, F_OK) != 0) syscall(SYS_unlinkat, AT_FDCWD, kept, 0);
    }
    closedir(names);
}

/* The file behind a handle, if it lies in the directory. Under the lock. */
static struct file *find(int handle, const struct stat *identity) {
    char link[64], path[PATH_MAX];
    for (struct file *file = files; file < files + count; file++)
        if (file->identity.st_ino == identity->st_ino && file->identity.st_dev == identity->st_dev) return file;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t directory = strlen(data);
    if (length <= 0) return NULL;
    path[length] = 0;
    if (strncmp(path, data, directory) != 0 || path[directory] != '/' || access(path, F_OK) != 0) return NULL;
    check(count < MAX_FILES, "room for one more file");
    struct file *file = &files[count++];
    file->identity = *identity;
    file->real = open(link, O_RDONLY | O_CLOEXEC);
    content_path(path, identity->st_ino);
    file->image = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(file->real >= 0 && file->image >= 0, "a file");
    if (chance(write_back)) keep_names();
    return file;
}

static void keep_sector(const struct file *file, size_t sector) {
    char bytes[SECTOR];
    ssize_t length = pread(file->real, bytes, SECTOR, (off_t)sector * SECTOR);
    check(length >= 0, "a sector");
    check(syscall(SYS_pwrite64, file->image, bytes, length, (off_t)sector * SECTOR) == length, "the image");
}

/* These bytes differ from those on the disk from now on, unless chance brings them there. */
static void change(struct file *file, off_t from, off_t end) {
    size_t last = (end + SECTOR - 1) / SECTOR;
    if (last > file->sectors) {
        size_t sectors = last * 2;
        file->dirty = realloc(file->dirty, sectors);
        check(file->dirty != NULL, "memory");
        memset(file->dirty + file->sectors, 0, sectors - file->sectors);
        file->sectors = sectors;
    }
    for (size_t sector = from / SECTOR; sector < last; sector++) {
        file->dirty[sector] = 1;
        if (chance(write_back)) keep_sector(file, sector);
    }
}

/* All of the file as it is now, or each of its sectors by chance. */
static void keep(struct file *file, unsigned percent) {
    struct stat status;
    for (size_t sector = 0; sector < file->sectors; sector++)
        if (file->dirty[sector] && chance(percent)) {
            keep_sector(file, sector);
            file->dirty[sector] = 0;
        }
    check(fstat(file->real, &status) == 0, "the length");
    if (chance(percent)) check(syscall(SYS_ftruncate, file->image, status.st_size) == 0, "the image");
}

static int sync_handle(int handle) {
    struct stat status;
    if (fstat(handle, &status) != 0) return -1;
    if (syncs_lie) return 0;
    pthread_mutex_lock(&lock);
    struct stat directory;
    struct file *file = S_ISREG(status.st_mode) ? find(handle, &status) : NULL;
    int is_directory = stat(data, &directory) == 0 && directory.st_ino == status.st_ino && directory.st_dev == status.st_dev;
    int dies = (file || is_directory) && at_sync > 0 && --at_sync == 0;
    if (file) keep(file, dies ? 50 : 100);
    if (is_directory && (!dies || chance(50))) keep_names();
    if (dies) kill(getpid(), SIGKILL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int handle) { return sync_handle(handle); }

int fdatasync(int handle) { return sync_handle(handle); }

/* Before a write to a file of the directory: takes the lock, and finds where the write begins. */
static struct file *begin_write(int handle, off_t *at) {
    struct stat status;
    if (fstat(handle, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    pthread_mutex_lock(&lock);
    struct file *file = find(handle, &status);
    if (!file) {
        pthread_mutex_unlock(&lock);
        return NULL;
    }
    if (*at < 0) {
        int appends = fcntl(handle, F_GETFL) & O_APPEND;
        *at = appends ? lseek(file->real, 0, SEEK_END) : lseek(handle, 0, SEEK_CUR);
    }
    return file;
}

static ssize_t end_write(struct file *file, off_t at, ssize_t written) {
    int error = errno;
    if (file) {
        if (written > 0) change(file, at, at + written);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return written;
}

ssize_t pwrite64(int handle, const void *bytes, size_t length, off64_t at) {
    off_t from = at;
    struct file *file = begin_write(handle, &from);
    return end_write(file, from, syscall(SYS_pwrite64, handle, bytes, length, at));
}

ssize_t pwrite(int handle, const void *bytes, size_t length, off_t at) { return pwrite64(handle, bytes, length, at); }

ssize_t write(int handle, const void *bytes, size_t length) {
    off_t from = -1;
    struct file *file = begin_write(handle, &from);
    return end_write(file, from, syscall(SYS_write, handle, bytes, length));
}

ssize_t writev(int handle, const struct iovec *parts, int number) {
    off_t from = -1;
    struct file *file = begin_write(handle, &from);
    return end_write(file, from, syscall(SYS_writev, handle, parts, number));
}

int ftruncate64(int handle, off64_t length) {
    struct stat before;
    off_t from = 0;
    struct file *file = begin_write(handle, &from);
    if (!file) return syscall(SYS_ftruncate, handle, length);
    check(fstat(handle, &before) == 0, "the length");
    int result = syscall(SYS_ftruncate, handle, length);
    int error = errno;
    if (result == 0) {
        off_t shorter = before.st_size < length ? before.st_size : length;
        change(file, shorter, before.st_size < length ? length : before.st_size);
        if (chance(write_back)) check(syscall(SYS_ftruncate, file->image, length) == 0, "the image");
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int handle, off_t length) { return ftruncate64(handle, length); }

int unlinkat(int directory, const char *name, int flags) {
    struct stat status, kept;
    char path[PATH_MAX];
    int is_file = fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
    int result = syscall(SYS_unlinkat, directory, name, flags);
    int error = errno;
    if (result == 0 && is_file && status.st_nlink == 1 && stat(data, &kept) == 0 && kept.st_dev == status.st_dev) {
        pthread_mutex_lock(&lock);
        /* Another file may get the inode. The name that the disk has keeps the content. */
        content_path(path, status.st_ino);
        syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        if (chance(write_back)) keep_names();
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
