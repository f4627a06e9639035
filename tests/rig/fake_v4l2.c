/*
 * A virtual camera device without a kernel module, for one process.
 *
 * Preloaded into OBS, these functions replace only the kernel's half of v4l2loopback: OBS's own virtual
 * camera code runs unchanged. The process believes that v4l2loopback is loaded (fopen), finds exactly one
 * device in /dev (scandir), opens it (open), negotiates a format (ioctl) and writes YUYV frames (write).
 * The frames go to the FIFO named by RIG_CAMERA_FIFO, each behind a header that carries the size and, as
 * the real module does, the CLOCK_MONOTONIC time at which the frame was handed over.
 *
 * Nothing under /dev is touched, so that it needs no rights and any number of OBS's can run side by side.
 * The constructor takes the preload out of the environment: children of OBS are not affected.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DEVICE_NAME "video99"
#define DEVICE_PATH "/dev/" DEVICE_NAME
#define FRAME_MAGIC 0x45524d46u /* "FMRE" */

struct frame_header {
    uint32_t magic;
    uint32_t width;
    uint32_t height;
    uint32_t payload_bytes;
    uint64_t monotonic_ns;
};

static char fifo_path[256];
static int camera_fd = -1;
static uint32_t width, height;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_ioctl)(int, unsigned long, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static FILE *(*real_fopen)(const char *, const char *);
static int (*real_scandir)(const char *, struct dirent ***, int (*)(const struct dirent *),
                           int (*)(const struct dirent **, const struct dirent **));

/* Other libraries' constructors may run, and call these functions, before ours. */
static void resolve(void) {
    if (real_scandir) return;
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fopen = dlsym(RTLD_NEXT, "fopen");
    real_scandir = dlsym(RTLD_NEXT, "scandir");
}

__attribute__((constructor)) static void start(void) {
    resolve();
    const char *path = getenv("RIG_CAMERA_FIFO");
    if (path && strlen(path) < sizeof fifo_path) strcpy(fifo_path, path);
    unsetenv("LD_PRELOAD");
}

int open(const char *path, int flags, ...) {
    resolve();
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!fifo_path[0] || strcmp(path, DEVICE_PATH)) return real_open(path, flags, mode);
    return camera_fd = real_open(fifo_path, O_WRONLY | O_CLOEXEC);
}

int close(int fd) {
    resolve();
    if (fd >= 0 && fd == camera_fd) camera_fd = -1;
    return real_close(fd);
}

int ioctl(int fd, unsigned long request, ...) {
    resolve();
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (fd < 0 || fd != camera_fd) return real_ioctl(fd, request, arg);
    if (request == VIDIOC_QUERYCAP) {
        struct v4l2_capability *capability = arg;
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->driver, "v4l2 loopback");
        strcpy((char *)capability->card, "Rig Camera");
        capability->capabilities = V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_READWRITE | V4L2_CAP_DEVICE_CAPS;
        capability->device_caps = V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_READWRITE;
    } else if (request == VIDIOC_S_FMT) {
        struct v4l2_format *format = arg;
        width = format->fmt.pix.width;
        height = format->fmt.pix.height;
    } else if (_IOC_TYPE(request) != 'V') {
        errno = ENOTTY;
        return -1;
    }
    return 0;
}

static int write_all(struct iovec *parts, int count) {
    while (count) {
        ssize_t done = writev(camera_fd, parts, count);
        if (done < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        while (count && (size_t)done >= parts->iov_len) {
            done -= parts->iov_len;
            parts++;
            count--;
        }
        if (count) {
            parts->iov_base = (char *)parts->iov_base + done;
            parts->iov_len -= done;
        }
    }
    return 0;
}

ssize_t write(int fd, const void *data, size_t size) {
    resolve();
    if (fd < 0 || fd != camera_fd) return real_write(fd, data, size);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct frame_header header = {FRAME_MAGIC, width, height, (uint32_t)size,
                                  (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)data, size}};
    return write_all(parts, 2) ? -1 : (ssize_t)size;
}

FILE *fopen(const char *path, const char *mode) {
    resolve();
    if (!fifo_path[0] || strcmp(path, "/proc/modules")) return real_fopen(path, mode);
    FILE *modules = tmpfile();
    if (modules) {
        fputs("v4l2loopback 49152 0 - Live 0x0\n", modules);
        rewind(modules);
    }
    return modules;
}

int scandir(const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
            int (*compare)(const struct dirent **, const struct dirent **)) {
    resolve();
    struct dirent camera = {0};
    strcpy(camera.d_name, DEVICE_NAME);
    if (!fifo_path[0] || strcmp(path, "/dev") || !filter || !filter(&camera))
        return real_scandir(path, names, filter, compare);
    *names = malloc(sizeof **names);
    if (!*names) return -1;
    (*names)[0] = malloc(sizeof camera);
    if (!(*names)[0]) {
        free(*names);
        return -1;
    }
    memcpy((*names)[0], &camera, sizeof camera);
    return 1;
}

#ifdef __LP64__ /* The large-file names are the same functions there; builds differ in which they call. */
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));
#endif
