/*
 * Replaces rsync in the tests of the jails: it makes one attempt and prints the kernel's answer.
 *
 * The first line of standard input names the attempt and its arguments, with a tab between each; the launcher
 * decides rsync's arguments, so there is no other way in. The answer is one line: "NAME<TAB>OK" or
 * "NAME<TAB>ERRNO". Each start makes one attempt, so that a change or a kill cannot affect another attempt. Every
 * attempt is complete (writes a byte, reads a byte, waits for the child), so that OK means done.
 * test/support/jail.ts starts each one without a jail too. It must succeed there, so that a mistake in this file
 * cannot look like a refusal.
 *
 * Compiled by the test: static and not position-independent, so that a variable of a second probe (the
 * victim) has the same address as here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * Calls that are newer than the headers of the oldest system we build on; one number on all machines since
 * 424.
 */
#define NR_open_tree 428
#define NR_move_mount 429
#define NR_fsopen 430
#define NR_fsconfig 431
#define NR_fsmount 432
#define NR_fspick 433
#define NR_pidfd_open 434
#define NR_pidfd_getfd 438
#define NR_pidfd_send_signal 424
#define NR_process_madvise 440
#define NR_mount_setattr 442
#define NR_memfd_secret 447
#define NR_fchmodat2 452
#define NR_setxattrat 463
#define NR_removexattrat 466
#define NR_open_tree_attr 467
#define NR_file_setattr 469
#define X32_BIT 0x40000000

#define FILE_MODE 0640

typedef int attempt(char **arg);

/* The victim's, at the same address there. */
static volatile char treasure[] = "a victim's memory";

static int keep(long result) { return result < 0 ? -1 : 0; }

static int number(const char *text) { return (int)strtol(text, NULL, 10); }

/*
 * ---- files
 * ----------------------------------------------------------------------------------------------------
 */

static int open_flags(const char *word) {
  static const struct {
    const char *word;
    int flags;
  } table[] = {
      {"read", O_RDONLY},
      {"write", O_WRONLY},
      {"both", O_RDWR},
      {"truncate", O_RDONLY | O_TRUNC},
      {"create", O_RDONLY | O_CREAT},
      {"create-write", O_WRONLY | O_CREAT | O_EXCL},
      {"append", O_WRONLY | O_APPEND},
      {"tmpfile", O_RDWR | O_TMPFILE},
      {"tmpfile-link", O_WRONLY | O_TMPFILE},
      {"three", O_WRONLY | O_RDWR}, /* neither reads nor writes, but ioctl() takes the descriptor */
      {"folder", O_RDONLY | O_DIRECTORY},
      {"wait-not", O_RDONLY | O_NONBLOCK},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(table[i].word, word) == 0) return table[i].flags;
  fprintf(stderr, "probe: no such way to open: %s\n", word);
  exit(2);
}

/* Reads or writes a byte through a fresh descriptor, whichever it is good for. */
static int use(int fd, int flags) {
  char byte = '!';
  if (fd < 0) return -1;
  if (flags & O_DIRECTORY && (flags & O_TMPFILE) != O_TMPFILE) {
    char names[4096];
    return keep(syscall(SYS_getdents64, fd, names, sizeof names));
  }
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return flags & (O_TRUNC | O_CREAT) ? 0 : keep(read(fd, &byte, 1));
    case O_WRONLY:
    case O_RDWR:
      return keep(write(fd, &byte, 1));
    default:
      return 0;
  }
}

/* PATH WAY */
static int try_open(char **arg) {
  int flags = open_flags(arg[1]);
  return use(open(arg[0], flags, FILE_MODE), flags);
}

/* The old call of that name, not what libc makes of it. */
static int try_old_open(char **arg) {
#ifdef SYS_open
  int flags = open_flags(arg[1]);
  return use((int)syscall(SYS_open, arg[0], flags, FILE_MODE), flags);
#else
  (void)arg;
  errno = ENOSYS;
  return -1;
#endif
}

static int try_creat(char **arg) {
#ifdef SYS_creat
  return use((int)syscall(SYS_creat, arg[0], FILE_MODE), O_WRONLY);
#else
  return use(open(arg[0], O_CREAT | O_WRONLY | O_TRUNC, FILE_MODE), O_WRONLY);
#endif
}

/* PATH WAY */
static int try_openat2(char **arg) {
  int flags = open_flags(arg[1]);
  struct open_how how = {.flags = (unsigned)flags, .mode = flags & O_CREAT ? FILE_MODE : 0};
  return use((int)syscall(__NR_openat2, AT_FDCWD, arg[0], &how, sizeof how), flags);
}

/* FOLDER NAME: by a descriptor of the folder (O_PATH needs no right). */
static int try_openat(char **arg) {
  int folder = open(arg[0], O_PATH | O_DIRECTORY);
  if (folder < 0) return -1;
  return use(openat(folder, arg[1], O_RDONLY), O_RDONLY);
}

/* FOLDER NAME: after a change of the working directory. */
static int try_chdir_open(char **arg) {
  if (chdir(arg[0]) < 0) return -1;
  return use(open(arg[1], O_RDONLY), O_RDONLY);
}

/* PATH: a path-only descriptor, opened again as /proc/self/fd/N. */
static int try_reopen(char **arg) {
  char again[64];
  int fd = open(arg[0], O_PATH);
  if (fd < 0) return -1;
  snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
  return use(open(again, O_RDONLY), O_RDONLY);
}

static int try_memory_file(char **arg) {
  char byte;
  int fd = open(arg[0], O_RDONLY);
  if (fd < 0) return -1;
  return keep(pread(fd, &byte, 1, (off_t)(uintptr_t)treasure));
}

static int try_write_memory_file(char **arg) {
  int fd = open(arg[0], O_RDWR);
  if (fd < 0) return -1;
  return keep(pwrite(fd, "A", 1, (off_t)(uintptr_t)treasure));
}

static int try_stat(char **arg) {
  struct stat found;
  return lstat(arg[0], &found);
}
static int try_readlink(char **arg) {
  char target[4096];
  return keep(readlink(arg[0], target, sizeof target));
}
static int try_lgetxattr(char **arg) {
  char value[256];
  return keep(lgetxattr(arg[0], arg[1], value, sizeof value));
}
static int try_llistxattr(char **arg) {
  char names[4096];
  return keep(llistxattr(arg[0], names, sizeof names));
}

static int try_unlink(char **arg) { return unlink(arg[0]); }
static int try_unlinkat(char **arg) { return unlinkat(AT_FDCWD, arg[0], 0); }
static int try_rmdir(char **arg) { return rmdir(arg[0]); }
static int try_rename(char **arg) { return rename(arg[0], arg[1]); }
static int try_renameat(char **arg) { return renameat(AT_FDCWD, arg[0], AT_FDCWD, arg[1]); }
static int try_renameat2(char **arg) {
  return keep(syscall(SYS_renameat2, AT_FDCWD, arg[0], AT_FDCWD, arg[1], RENAME_NOREPLACE));
}
static int try_exchange(char **arg) {
  return keep(syscall(SYS_renameat2, AT_FDCWD, arg[0], AT_FDCWD, arg[1], RENAME_EXCHANGE));
}
/* Leaves a process behind that would stay for a minute, without the descriptors of its parent. */
static int try_linger(char **arg) {
  (void)arg;
  pid_t child = fork();
  if (child != 0) return child < 0 ? -1 : 0;
  for (int fd = 0; fd < 64; fd++) close(fd);
  if (fork() == 0) sleep(60);
  _exit(0);
}
static int try_whiteout(char **arg) {
  return keep(syscall(SYS_renameat2, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 4 /* RENAME_WHITEOUT */));
}
static int try_truncate(char **arg) { return truncate(arg[0], 1); }
static int try_mkdir(char **arg) { return mkdir(arg[0], 0755); }
static int try_mkdirat(char **arg) { return mkdirat(AT_FDCWD, arg[0], 0755); }
static int try_link(char **arg) { return link(arg[0], arg[1]); }
static int try_linkat(char **arg) { return linkat(AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0); }
/* With CAP_DAC_READ_SEARCH a process can give a file a name by its descriptor. */
static int try_link_descriptor(char **arg) {
  int fd = open(arg[0], O_RDONLY);
  if (fd < 0) return -1;
  return linkat(fd, "", AT_FDCWD, arg[1], AT_EMPTY_PATH);
}
static int try_symlink(char **arg) { return symlink(arg[0], arg[1]); }
static int try_symlinkat(char **arg) { return symlinkat(arg[0], AT_FDCWD, arg[1]); }

/* PATH KIND */
static int try_mknod(char **arg) {
  if (strcmp(arg[1], "fifo") == 0) return mknod(arg[0], S_IFIFO | 0600, 0);
  if (strcmp(arg[1], "socket") == 0) return mknod(arg[0], S_IFSOCK | 0600, 0);
  if (strcmp(arg[1], "file") == 0) return mknod(arg[0], S_IFREG | 0600, 0);
  /* 1:3 is /dev/null, 7:0 a loop device: both are harmless. */
  if (strcmp(arg[1], "character") == 0) return mknod(arg[0], S_IFCHR | 0600, (dev_t)((1 << 8) | 3));
  return mknod(arg[0], S_IFBLK | 0600, (dev_t)(7 << 8));
}
static int try_old_mknod(char **arg) {
#ifdef SYS_mknod
  return keep(syscall(SYS_mknod, arg[0], S_IFIFO | 0600, 0));
#else
  return try_mknod((char *[]){arg[0], "fifo"});
#endif
}

/*
 * Below, PATH "-" is standard input, which the test then makes a file that is open for reading and writing.
 */
static int readable(const char *path) { return strcmp(path, "-") == 0 ? 0 : open(path, O_RDONLY); }

/* Calls something with such a descriptor, if there is one. */
#define BY_DESCRIPTOR(path, call)   \
  int fd = readable(path);          \
  return fd < 0 ? -1 : keep(call)

static int try_ftruncate(char **arg) { BY_DESCRIPTOR(arg[0], ftruncate(fd, 1)); }
static int try_fallocate(char **arg) { BY_DESCRIPTOR(arg[0], fallocate(fd, 0, 0, 8192)); }
static int try_punch(char **arg) {
  BY_DESCRIPTOR(arg[0], fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
}
static int try_copy_range(char **arg) {
  int from = open(arg[0], O_RDONLY);
  return from < 0 ? -1 : keep(copy_file_range(from, NULL, readable(arg[1]), NULL, 1, 0));
}
static int try_sendfile(char **arg) {
  int from = open(arg[0], O_RDONLY);
  return from < 0 ? -1 : keep(sendfile(readable(arg[1]), from, NULL, 1));
}
static int try_chmod(char **arg) { return chmod(arg[0], 0604); }
static int try_fchmod(char **arg) { BY_DESCRIPTOR(arg[0], fchmod(fd, 0604)); }
static int try_fchmodat(char **arg) { return keep(syscall(SYS_fchmodat, AT_FDCWD, arg[0], 0604)); }
static int try_fchmodat2(char **arg) { return keep(syscall(NR_fchmodat2, AT_FDCWD, arg[0], 0604, 0)); }
static int try_chown(char **arg) { return chown(arg[0], getuid(), getgid()); }
static int try_lchown(char **arg) { return lchown(arg[0], getuid(), getgid()); }
static int try_fchown(char **arg) { BY_DESCRIPTOR(arg[0], fchown(fd, getuid(), getgid())); }
static int try_fchownat(char **arg) { return fchownat(AT_FDCWD, arg[0], getuid(), getgid(), 0); }
static int try_chown_to_other(char **arg) { return chown(arg[0], 1, 1); }

static const struct timespec early[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
static const struct timeval early_too[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
static int try_utimensat(char **arg) { return utimensat(AT_FDCWD, arg[0], early, 0); }
static int try_futimens(char **arg) { BY_DESCRIPTOR(arg[0], futimens(fd, early)); }
static int try_utime(char **arg) {
#ifdef SYS_utime
  static const long both[2] = {1000, 1000};
  return keep(syscall(SYS_utime, arg[0], both));
#else
  return utimensat(AT_FDCWD, arg[0], early, 0);
#endif
}
static int try_utimes(char **arg) {
#ifdef SYS_utimes
  return keep(syscall(SYS_utimes, arg[0], early_too));
#else
  (void)early_too;
  return utimensat(AT_FDCWD, arg[0], early, 0);
#endif
}
static int try_futimesat(char **arg) {
#ifdef SYS_futimesat
  return keep(syscall(SYS_futimesat, AT_FDCWD, arg[0], early_too));
#else
  return utimensat(AT_FDCWD, arg[0], early, 0);
#endif
}

/* The test gives each file user.there. */
#define NEW "user.new"
#define THERE "user.there"
static int try_setxattr(char **arg) { return setxattr(arg[0], NEW, "1", 1, 0); }
static int try_lsetxattr(char **arg) { return lsetxattr(arg[0], NEW, "1", 1, 0); }
static int try_fsetxattr(char **arg) { BY_DESCRIPTOR(arg[0], fsetxattr(fd, NEW, "1", 1, 0)); }
static int try_removexattr(char **arg) { return removexattr(arg[0], THERE); }
static int try_lremovexattr(char **arg) { return lremovexattr(arg[0], THERE); }
static int try_fremovexattr(char **arg) { BY_DESCRIPTOR(arg[0], fremovexattr(fd, THERE)); }
static int try_setxattrat(char **arg) {
  struct {
    uint64_t value;
    uint32_t size, flags;
  } how = {(uintptr_t) "1", 1, 0};
  return keep(syscall(NR_setxattrat, AT_FDCWD, arg[0], 0, NEW, &how, sizeof how));
}
static int try_removexattrat(char **arg) {
  return keep(syscall(NR_removexattrat, AT_FDCWD, arg[0], 0, THERE));
}
/* An access list as setfacl would write it: version 2, owner rw, user 1 rw, group r, mask rw, others none. */
static int try_set_acl(char **arg) {
  static const unsigned char list[] = {2,   0,   0,   0,   1,  0, 6, 0, 255, 255, 255, 255, 2,  0, 6, 0,
                                       1,   0,   0,   0,   4,  0, 4, 0, 255, 255, 255, 255, 16, 0, 6, 0,
                                       255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};
  return setxattr(arg[0], "system.posix_acl_access", list, sizeof list, 0);
}
static int try_set_file_capability(char **arg) {
  static const uint32_t value[] = {0x02000001, 1u << 2, 0, 0, 0}; /* cap_dac_read_search=ep */
  return setxattr(arg[0], "security.capability", value, sizeof value, 0);
}

#define NODUMP 0x40 /* FS_NODUMP_FL: a flag that an owner may set */
static int try_setflags(char **arg) {
  int fd = readable(arg[0]), flags = 0;
  if (fd < 0) return -1;
  /* Where even reading the flags is refused, the other call is made all the same. */
  (void)ioctl(fd, FS_IOC_GETFLAGS, &flags);
  flags |= NODUMP;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
static int try_fssetxattr(char **arg) {
  struct fsxattr attributes = {0};
  int fd = readable(arg[0]);
  if (fd < 0) return -1;
  (void)ioctl(fd, FS_IOC_FSGETXATTR, &attributes);
  attributes.fsx_xflags |= FS_XFLAG_NODUMP;
  return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}
static int try_file_setattr(char **arg) {
  struct {
    uint64_t xflags;
    uint32_t extent_size, extents, project, cow_size;
  } attributes = {.xflags = FS_XFLAG_NODUMP};
  return keep(syscall(NR_file_setattr, AT_FDCWD, arg[0], &attributes, sizeof attributes, 0));
}

static int try_flock(char **arg) { BY_DESCRIPTOR(arg[0], flock(fd, LOCK_EX | LOCK_NB)); }
static int try_lease(char **arg) { BY_DESCRIPTOR(arg[0], fcntl(fd, F_SETLEASE, F_RDLCK)); }
static int try_record_lock(char **arg) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  BY_DESCRIPTOR(arg[0], fcntl(fd, F_SETLK, &lock));
}
static int try_dnotify(char **arg) {
  BY_DESCRIPTOR(arg[0], fcntl(fd, F_NOTIFY, DN_CREATE | DN_MODIFY | DN_ACCESS));
}
static int try_inotify(char **arg) {
  int watch = (int)syscall(SYS_inotify_init1, 0);
  return watch < 0 ? -1 : keep(syscall(SYS_inotify_add_watch, watch, arg[0], 0x2 /* IN_MODIFY */));
}

struct handle {
  unsigned bytes;
  int type;
  unsigned char rest[128];
};
static int try_name_to_handle(char **arg) {
  struct handle handle = {.bytes = sizeof handle.rest};
  int mount;
  return keep(syscall(SYS_name_to_handle_at, AT_FDCWD, arg[0], &handle, &mount, 0));
}
/* MOUNTED HEX: the handle as `probe --handle PATH` prints it outside. */
static int try_open_by_handle(char **arg) {
  struct handle handle = {0};
  unsigned value;
  size_t at = 0;
  for (const char *hex = arg[1] + 8; sscanf(hex, "%2x", &value) == 1; hex += 2)
    handle.rest[at++] = (unsigned char)value;
  sscanf(arg[1], "%8x", (unsigned *)&handle.type);
  handle.bytes = (unsigned)at;
  int mounted = open(arg[0], O_RDONLY | O_DIRECTORY);
  if (mounted < 0) return -1;
  return use((int)syscall(SYS_open_by_handle_at, mounted, &handle, O_RDONLY), O_RDONLY);
}

/*
 * ---- sockets
 * --------------------------------------------------------------------------------------------------
 */

static int family_of(const char *word) {
  if (strcmp(word, "unix") == 0) return AF_UNIX;
  if (strcmp(word, "inet") == 0) return AF_INET;
  if (strcmp(word, "inet6") == 0) return AF_INET6;
  if (strcmp(word, "netlink") == 0) return AF_NETLINK;
  if (strcmp(word, "packet") == 0) return AF_PACKET;
  if (strcmp(word, "vsock") == 0) return AF_VSOCK;
  return AF_ALG;
}
static int type_of(const char *word) {
  if (strcmp(word, "stream") == 0) return SOCK_STREAM;
  if (strcmp(word, "dgram") == 0) return SOCK_DGRAM;
  if (strcmp(word, "seqpacket") == 0) return SOCK_SEQPACKET;
  return SOCK_RAW;
}

/* "@name" is in the abstract name space. */
static socklen_t unix_address(struct sockaddr_un *address, const char *path) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  size_t length = strlen(path);
  if (length >= sizeof address->sun_path) exit(2);
  memcpy(address->sun_path, path, length);
  if (path[0] == '@') address->sun_path[0] = '\0';
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '@' ? 0 : 1));
}
static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)number(port)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* FAMILY TYPE */
static int try_socket(char **arg) {
  int family = family_of(arg[0]), type = type_of(arg[1]);
  return keep(socket(family, type, family == AF_INET && type == SOCK_RAW ? IPPROTO_ICMP : 0));
}
/* TYPE */
static int try_socketpair(char **arg) {
  int ends[2];
  return socketpair(AF_UNIX, type_of(arg[0]), 0, ends);
}
/* PATH TYPE */
static int try_connect_unix(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int fd = socket(AF_UNIX, type_of(arg[1]), 0);
  return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, length);
}
/* PATH: a socket that came from socketpair() and not from socket(), and the way out of it. */
static int try_pair_connect(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return -1;
  if (connect(ends[0], (struct sockaddr *)&address, length) < 0) return -1;
  return keep(write(ends[0], "!", 1));
}
static int try_pair_sendto(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return -1;
  return keep(sendto(ends[0], "!", 1, 0, (struct sockaddr *)&address, length));
}
static int try_pair_sendmsg(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return -1;
  struct iovec byte = {"!", 1};
  struct msghdr message = {.msg_name = &address, .msg_namelen = length, .msg_iov = &byte, .msg_iovlen = 1};
  return keep(sendmsg(ends[0], &message, 0));
}
static int try_pair_bind(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) return -1;
  return bind(ends[0], (struct sockaddr *)&address, length);
}
/* PORT */
static int try_tcp(char **arg) {
  struct sockaddr_in address = loopback(arg[0]);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
}
/* A connection made by the first packet, without connect(). */
static int try_tcp_fast_open(char **arg) {
  struct sockaddr_in address = loopback(arg[0]);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  return keep(sendto(fd, "!", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}
static int try_udp(char **arg) {
  struct sockaddr_in address = loopback(arg[0]);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  return fd < 0 ? -1 : keep(sendto(fd, "!", 1, 0, (struct sockaddr *)&address, sizeof address));
}
static int try_listen(char **arg) {
  (void)arg;
  struct sockaddr_in address = loopback("0");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  return listen(fd, 1);
}
static int try_bind_unix(char **arg) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, arg[0]);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  return fd < 0 ? -1 : bind(fd, (struct sockaddr *)&address, length);
}
/* An open file handed over standard output, which is a unix socket below sshd and below the test. */
static int try_pass_descriptor(char **arg) {
  int fd = open(arg[0], O_RDONLY);
  if (fd < 0) return -1;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct iovec byte = {"\n", 1};
  struct msghdr message = {
      .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  return keep(sendmsg(1, &message, 0));
}
static int try_receive_message(char **arg) {
  (void)arg;
  char byte, space[256];
  struct iovec into = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &into, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  return keep(recvmsg(0, &message, MSG_DONTWAIT | MSG_PEEK)) == 0 || errno == EAGAIN ? 0 : -1;
}

/*
 * ---- processes
 * ------------------------------------------------------------------------------------------------
 */

/*
 * 0 if the child exited with status 0. EXECUTED's failures become the errno that the child exited with.
 */
static int wait_for(pid_t child) {
  int status;
  if (child < 0) return -1;
  if (waitpid(child, &status, __WALL) < 0) return -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  return -1;
}
static int try_fork(char **arg) {
  (void)arg;
#ifdef SYS_fork
  pid_t child = (pid_t)syscall(SYS_fork);
#else
  pid_t child = fork();
#endif
  if (child == 0) _exit(0);
  return wait_for(child);
}
static int try_vfork(char **arg) {
  (void)arg;
  pid_t child = vfork();
  if (child == 0) _exit(0);
  return wait_for(child);
}
static int try_clone(char **arg) {
  (void)arg;
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) _exit(0);
  return wait_for(child);
}
static int try_clone3(char **arg) {
  (void)arg;
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } how = {.exit_signal = SIGCHLD};
  pid_t child = (pid_t)syscall(SYS_clone3, &how, sizeof how);
  if (child == 0) _exit(0);
  return wait_for(child);
}
static int thread_body(void *unused) {
  (void)unused;
  return 0;
}
static int try_thread(char **arg) {
  (void)arg;
  static char stack[65536] __attribute__((aligned(16)));
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  return keep(clone(thread_body, stack + sizeof stack, flags, NULL));
}

/* PATH [ARGUMENT…]: becomes another program, whose own output is the answer. */
static int try_execve(char **arg) {
  char *none[] = {NULL};
  return execve(arg[0], arg, none);
}
/* PATH [ARGUMENT…]: by a descriptor of it. */
static int try_execveat(char **arg) {
  char *none[] = {NULL};
  int fd = open(arg[0], O_PATH);
  if (fd < 0) return -1;
  return keep(syscall(SYS_execveat, fd, "", arg, none, AT_EMPTY_PATH));
}
/* A program that is on no disk: #! needs no ELF file of its own. */
static int try_memfd_exec(char **arg) {
  char *none[] = {NULL};
  (void)arg;
  static const char script[] = "#!/bin/echo executed\n";
  int fd = (int)syscall(SYS_memfd_create, "probe", 0);
  if (fd < 0 || write(fd, script, sizeof script - 1) < 0) return -1;
  return keep(syscall(SYS_execveat, fd, "", (char *[]){"program", NULL}, none, AT_EMPTY_PATH));
}
/* FOLDER: a program written where one may write. */
static int try_write_and_exec(char **arg) {
  char path[4096], *argv[] = {path, NULL}, *none[] = {NULL};
  static const char script[] = "#!/bin/echo executed\n";
  snprintf(path, sizeof path, "%s/program", arg[0]);
  int fd = open(path, O_CREAT | O_WRONLY, 0700);
  if (fd < 0 || write(fd, script, sizeof script - 1) < 0 || close(fd) < 0) return -1;
  return execve(path, argv, none);
}
static int try_memfd(char **arg) {
  (void)arg;
  return keep(syscall(SYS_memfd_create, "probe", 0));
}
static int try_memfd_secret(char **arg) {
  (void)arg;
  return keep(syscall(NR_memfd_secret, 0));
}

/* PID … of the victim, another process of the same user */
static int try_ptrace_attach(char **arg) {
  pid_t pid = number(arg[0]);
  if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0) return -1;
  waitpid(pid, NULL, __WALL);
  return keep(ptrace(PTRACE_DETACH, pid, NULL, NULL));
}
static int try_ptrace_seize(char **arg) {
  return keep(ptrace(PTRACE_SEIZE, number(arg[0]), NULL, NULL));
}
static int try_traceme(char **arg) {
  (void)arg;
  return keep(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}
static int try_vm_read(char **arg) {
  char byte;
  struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)treasure, 1};
  return keep(syscall(SYS_process_vm_readv, number(arg[0]), &here, 1, &there, 1, 0));
}
static int try_vm_write(char **arg) {
  char byte = 'A';
  struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)treasure, 1};
  return keep(syscall(SYS_process_vm_writev, number(arg[0]), &here, 1, &there, 1, 0));
}
static int pidfd(char **arg) { return (int)syscall(NR_pidfd_open, number(arg[0]), 0); }
static int try_pidfd_open(char **arg) { return keep(pidfd(arg)); }
static int try_pidfd_getfd(char **arg) {
  int fd = pidfd(arg);
  return fd < 0 ? -1 : keep(syscall(NR_pidfd_getfd, fd, 0, 0));
}
/*
 * Where pidfd_open is refused already, the second call has to be refused by itself: -1 is EBADF without a
 * jail.
 */
static int try_pidfd_getfd_alone(char **arg) {
  (void)arg;
  long result = syscall(NR_pidfd_getfd, -1, 0, 0);
  return result < 0 && errno == EBADF ? 0 : -1;
}
static int try_pidfd_send(char **arg) {
  int fd = pidfd(arg);
  return fd < 0 ? -1 : keep(syscall(NR_pidfd_send_signal, fd, SIGUSR1, NULL, 0));
}
/*
 * SIGUSR1 is one that rsync uses itself, between its own processes; the victim ends by it, and the test
 * looks.
 */
static int try_kill(char **arg) { return kill(number(arg[0]), SIGUSR1); }
static int try_kill_group(char **arg) { return kill(-number(arg[0]), SIGUSR1); }
static int try_kill_all(char **arg) {
  (void)arg;
  return kill(-1, SIGUSR1);
}
static int try_tkill(char **arg) { return keep(syscall(SYS_tkill, number(arg[0]), SIGUSR1)); }
static int try_tgkill(char **arg) {
  return keep(syscall(SYS_tgkill, number(arg[0]), number(arg[0]), SIGUSR1));
}
static int try_sigqueue(char **arg) {
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  info.si_pid = getpid();
  info.si_uid = getuid();
  return keep(syscall(SYS_rt_sigqueueinfo, number(arg[0]), SIGUSR1, &info));
}
static int try_tgsigqueue(char **arg) {
  siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
  info.si_pid = getpid();
  info.si_uid = getuid();
  return keep(syscall(SYS_rt_tgsigqueueinfo, number(arg[0]), number(arg[0]), SIGUSR1, &info));
}
/*
 * PID: a signal that is sent by input coming in, and by the kernel. The test then writes a byte and looks
 * whether the victim still lives: that it is asked for says nothing, the kernel refuses when it comes to
 * send.
 */
static int try_signal_by_input(char **arg) {
  if (fcntl(0, F_SETSIG, SIGTERM) < 0 || fcntl(0, F_SETOWN, number(arg[0])) < 0) return -1;
  if (fcntl(0, F_SETFL, O_ASYNC) < 0) return -1;
  char byte;
  if (write(1, "ready\n", 6) < 0) return -1;
  /* Do not wait in read(): the kernel sends no signal for data that a reader of a socket waits for. A writer
     wakes the reader first, and then sends the signal. When it has closed the socket, it has done both. */
  ssize_t n;
  do {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    poll(&input, 1, -1);
    n = read(0, &byte, 1);
  } while (n > 0);
  return keep(n);
}
static int try_prlimit(char **arg) {
  struct rlimit limit = {0, 0};
  return prlimit(number(arg[0]), RLIMIT_CORE, &limit, NULL);
}
static int try_setpriority(char **arg) { return setpriority(PRIO_PROCESS, (id_t)number(arg[0]), 1); }
static int try_ioprio(char **arg) {
  return keep(syscall(SYS_ioprio_set, 1, number(arg[0]), 3 << 13)); /* IOPRIO_WHO_PROCESS, the idle class */
}
static int try_affinity(char **arg) {
  cpu_set_t all;
  memset(&all, 255, sizeof all);
  return keep(syscall(SYS_sched_setaffinity, number(arg[0]), sizeof all, &all));
}
static int try_scheduler(char **arg) {
  struct sched_param parameters = {0};
  return keep(syscall(SYS_sched_setscheduler, number(arg[0]), SCHED_BATCH, &parameters));
}
static int try_kcmp(char **arg) { return keep(syscall(SYS_kcmp, getpid(), number(arg[0]), 0, 1, 1)); }
static int try_move_pages(char **arg) {
  int status;
  void *page = (void *)((uintptr_t)treasure & ~(uintptr_t)4095);
  return keep(syscall(SYS_move_pages, number(arg[0]), 1, &page, NULL, &status, 0));
}
static int try_process_madvise(char **arg) {
  int fd = pidfd(arg);
  struct iovec there = {(void *)((uintptr_t)treasure & ~(uintptr_t)4095), 4096};
  return fd < 0 ? -1 : keep(syscall(NR_process_madvise, fd, &there, 1, 20 /* MADV_COLD */, 0));
}
static int try_robust_list(char **arg) {
  void *head;
  size_t length;
  return keep(syscall(SYS_get_robust_list, number(arg[0]), &head, &length));
}

/*
 * ---- the kernel
 * -----------------------------------------------------------------------------------------------
 */

static int try_mount(char **arg) { return keep(syscall(SYS_mount, "none", arg[0], "tmpfs", 0, NULL)); }
static int try_bind_mount(char **arg) {
  return keep(syscall(SYS_mount, arg[0], arg[1], NULL, 4096 /* MS_BIND */, NULL));
}
static int try_umount(char **arg) { return keep(syscall(SYS_umount2, arg[0], 2 /* MNT_DETACH */)); }
static int try_open_tree(char **arg) {
  return keep(syscall(NR_open_tree, AT_FDCWD, arg[0], 1 /* OPEN_TREE_CLONE */));
}
static int try_open_tree_attr(char **arg) {
  return keep(syscall(NR_open_tree_attr, AT_FDCWD, arg[0], 1, NULL, 0));
}
/* A tree without CLONE is no more than O_PATH, which anybody may have. */
static int try_open_tree_plain(char **arg) { return keep(syscall(NR_open_tree, AT_FDCWD, arg[0], 0)); }
static int try_fsopen(char **arg) { return keep(syscall(NR_fsopen, arg[0], 0)); }
static int try_fspick(char **arg) { return keep(syscall(NR_fspick, AT_FDCWD, arg[0], 0)); }
static int try_fsmount(char **arg) {
  int context = (int)syscall(NR_fsopen, arg[0], 0);
  if (context < 0 || syscall(NR_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) < 0) return -1;
  return keep(syscall(NR_fsmount, context, 0, 0));
}
/* SOURCE FOLDER */
static int try_move_mount(char **arg) {
  int tree = (int)syscall(NR_open_tree, AT_FDCWD, arg[0], 1);
  /* Without a tree, make the call with the source's own path. */
  if (tree >= 0) return keep(syscall(NR_move_mount, tree, "", AT_FDCWD, arg[1], 4 /* F_EMPTY_PATH */));
  return keep(syscall(NR_move_mount, AT_FDCWD, arg[0], AT_FDCWD, arg[1], 0));
}
/* ROOT: it must be a mount of its own; the control makes one. */
static int try_pivot_root(char **arg) {
  if (getuid() == 0 && syscall(SYS_mount, arg[0], arg[0], NULL, 4096, NULL) < 0) return -1;
  return keep(syscall(SYS_pivot_root, arg[0], arg[0]));
}
static int try_mount_setattr(char **arg) {
  struct {
    uint64_t set, clear, propagation, userns;
  } change = {.propagation = 1 << 18 /* MS_PRIVATE */};
  return keep(syscall(NR_mount_setattr, AT_FDCWD, arg[0], 0, &change, sizeof change));
}
static int try_chroot(char **arg) { return chroot(arg[0]); }
static int try_unshare(char **arg) {
  static const struct {
    const char *word;
    int flag;
  } table[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"net", CLONE_NEWNET}, {"pid", CLONE_NEWPID},
               {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"files", CLONE_FILES}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(table[i].word, arg[0]) == 0) return unshare(table[i].flag);
  exit(2);
}
static int try_clone_user(char **arg) {
  (void)arg;
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL);
  if (child == 0) _exit(0);
  return wait_for(child);
}
/* NAMESPACE: a namespace of the victim. It needs no /proc: a process descriptor is one, too. */
static int try_setns(char **arg) {
  int fd = open(arg[0], O_RDONLY);
  /* Where it cannot be opened, -1 shows whether the call itself is let through: EBADF without a jail. */
  return keep(syscall(SYS_setns, fd, 0));
}
static int try_bpf(char **arg) {
  (void)arg;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 4;
  attributes.max_entries = 1;
  return keep(syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}
static int try_add_key(char **arg) {
  (void)arg;
  return keep(syscall(SYS_add_key, "user", "dialback-probe", "1", 1, KEY_SPEC_PROCESS_KEYRING));
}
static int try_keyctl(char **arg) {
  (void)arg;
  return keep(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
}
/* Without a jail there is no such key: that answer is the control's success. */
static int try_request_key(char **arg) {
  (void)arg;
  long result = syscall(SYS_request_key, "user", "dialback-no-such-key", NULL, KEY_SPEC_PROCESS_KEYRING);
  return result >= 0 || errno == ENOKEY ? 0 : -1;
}
static int try_io_uring(char **arg) {
  (void)arg;
  struct io_uring_params parameters;
  memset(&parameters, 0, sizeof parameters);
  return keep(syscall(SYS_io_uring_setup, 1, &parameters));
}
static int try_userfaultfd(char **arg) {
  (void)arg;
  return keep(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
}
static int try_perf(char **arg) {
  (void)arg;
  struct perf_event_attr attributes = {
      .type = PERF_TYPE_SOFTWARE, .size = sizeof attributes, .config = PERF_COUNT_SW_CPU_CLOCK};
  attributes.exclude_kernel = attributes.exclude_hv = 1;
  return keep(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}
static int try_personality(char **arg) {
  (void)arg;
  return keep(syscall(SYS_personality, 0x0040000 /* ADDR_NO_RANDOMIZE */));
}
static int try_setuid(char **arg) {
  (void)arg;
  return keep(syscall(SYS_setuid, getuid() == 0 ? 1 : 0));
}
static int try_setresuid(char **arg) {
  (void)arg;
  return keep(syscall(SYS_setresuid, -1, getuid() == 0 ? 1 : 0, -1));
}
static int try_setgid(char **arg) {
  (void)arg;
  return keep(syscall(SYS_setgid, getuid() == 0 ? 1 : 0));
}
static int try_setgroups(char **arg) {
  (void)arg;
  gid_t groups[] = {1, 6};
  return keep(syscall(SYS_setgroups, 2, groups));
}
static int try_setfsuid(char **arg) {
  (void)arg;
  syscall(SYS_setfsuid, getuid() == 0 ? 1 : 0);
  /* It never fails; whether it was done is seen by asking again. */
  if (syscall(SYS_setfsuid, -1) == (getuid() == 0 ? 1 : 0)) return 0;
  errno = EPERM;
  return -1;
}
static int try_capset(char **arg) {
  (void)arg;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2] = {{0}};
  const unsigned bits = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
  sets[0].permitted = sets[0].effective = bits;
  return keep(syscall(SYS_capset, &header, sets));
}
static int try_ambient(char **arg) {
  (void)arg;
  return keep(syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_DAC_READ_SEARCH, 0, 0));
}
static int try_no_pdeathsig(char **arg) {
  (void)arg;
  return keep(syscall(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0));
}
static int try_dumpable(char **arg) {
  (void)arg;
  return keep(syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int try_seccomp(char **arg) {
  (void)arg;
  struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {1, allow};
  if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
  return keep(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}
static int try_landlock(char **arg) {
  (void)arg;
  uint64_t handled = 1;
  return keep(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
}
static int try_mlock(char **arg) {
  (void)arg;
  return keep(syscall(SYS_mlock, treasure, 1));
}
static int try_shmget(char **arg) {
  (void)arg;
  int id = (int)syscall(SYS_shmget, 0 /* IPC_PRIVATE */, 4096, 0600);
  if (id >= 0) syscall(SYS_shmctl, id, 0 /* IPC_RMID */, NULL);
  return keep(id);
}
static int try_semget(char **arg) {
  (void)arg;
  int id = (int)syscall(SYS_semget, 0, 1, 0600);
  if (id >= 0) syscall(SYS_semctl, id, 0, 0, 0);
  return keep(id);
}
static int try_msgget(char **arg) {
  (void)arg;
  int id = (int)syscall(SYS_msgget, 0, 0600);
  if (id >= 0) syscall(SYS_msgctl, id, 0, NULL);
  return keep(id);
}
static int try_mq_open(char **arg) {
  int queue = (int)syscall(SYS_mq_open, arg[0], O_CREAT | O_RDWR, 0600, NULL);
  if (queue >= 0) syscall(SYS_mq_unlink, arg[0]);
  return keep(queue);
}
static int try_fanotify(char **arg) {
  (void)arg;
  return keep(syscall(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, O_RDONLY));
}
static int try_hostname(char **arg) {
  (void)arg;
  return sethostname("probe", 5);
}
static int try_klog(char **arg) {
  (void)arg;
  return keep(syscall(SYS_syslog, 10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0));
}
/* Without a module to load: a privileged caller gets an error about the file, not about its powers. */
static int try_module(char **arg) {
  (void)arg;
  long result = syscall(SYS_finit_module, -1, "", 0);
  return result < 0 && errno == EBADF ? 0 : -1;
}
static int try_quota(char **arg) {
  /* Q_SYNC of all quotas: nothing comes of it but the answer. */
  return keep(syscall(SYS_quotactl, 0x80000100u, NULL, 0, arg[0]));
}
static int try_timer_slack(char **arg) {
  (void)arg;
  return keep(syscall(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0));
}
static int try_ldt(char **arg) {
  (void)arg;
#ifdef SYS_modify_ldt
  char table[64];
  return keep(syscall(SYS_modify_ldt, 0, table, sizeof table));
#else
  errno = ENOSYS;
  return -1;
#endif
}
static int try_iopl(char **arg) {
  (void)arg;
#ifdef SYS_iopl
  return keep(syscall(SYS_iopl, 3));
#else
  errno = ENOSYS;
  return -1;
#endif
}

/* PATH: mkdir by the 32-bit table, whose numbers mean other calls: 39 is mkdir there and getpid here. */
static int try_int80(char **arg) {
#ifdef __x86_64__
  char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (low == MAP_FAILED) return -1;
  snprintf(low, 4096, "%s", arg[0]);
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"(39L), "b"(low), "c"(0755L)
                   : "memory", "r8", "r9", "r10", "r11");
  if ((int)result < 0) {
    errno = -(int)result;
    return -1;
  }
  return 0;
#else
  (void)arg;
  errno = ENOSYS;
  return -1;
#endif
}
/* PATH: mkdir by x32. */
static int try_x32(char **arg) { return keep(syscall(SYS_mkdirat | X32_BIT, AT_FDCWD, arg[0], 0755)); }

/*
 * NUMBER: any call, with zeros, ones and minus ones for arguments, which are harmless. The test distinguishes an
 * answer of the filter from an answer of the kernel.
 */
static int try_call(char **arg) {
  long result = -1;
  if (write(1, "asking\n", 7) < 0) return -1; /* from here on it can wait for ever, or end: then it got through */
  for (int i = 0; i < 3; i++) {
    long each = i == 0 ? 0 : i == 1 ? 1 : -1;
    result = syscall(number(arg[0]), each, each, each, each, each, each);
    if (result >= 0 || (errno != EPERM && errno != ENOSYS)) break;
  }
  return keep(result);
}

/* Reports that it is ready, and stays until its input ends. The test reads its attributes in /proc. */
static int try_wait(char **arg) {
  (void)arg;
  char rest[256];
  if (write(1, "ready\n", 6) < 0) return -1;
  while (read(0, rest, sizeof rest) > 0) continue;
  return 0;
}

static const struct {
  const char *name;
  attempt *run;
  int arguments; /* the least number */
} attempts[] = {
#define ROW(name, arguments) {#name, try_##name, arguments}
    ROW(open, 2), ROW(old_open, 2), ROW(creat, 1), ROW(openat2, 2), ROW(openat, 2), ROW(chdir_open, 2),
    ROW(reopen, 1), ROW(memory_file, 1), ROW(write_memory_file, 1), ROW(stat, 1), ROW(readlink, 1),
    ROW(lgetxattr, 2), ROW(llistxattr, 1), ROW(unlink, 1), ROW(unlinkat, 1), ROW(rmdir, 1), ROW(rename, 2),
    ROW(renameat, 2), ROW(renameat2, 2), ROW(exchange, 2), ROW(whiteout, 2), ROW(linger, 0), ROW(truncate, 1), ROW(mkdir, 1), ROW(mkdirat, 1),
    ROW(link, 2), ROW(linkat, 2), ROW(link_descriptor, 2), ROW(symlink, 2), ROW(symlinkat, 2), ROW(mknod, 2),
    ROW(old_mknod, 1), ROW(ftruncate, 1), ROW(fallocate, 1), ROW(punch, 1), ROW(copy_range, 2),
    ROW(sendfile, 2), ROW(chmod, 1), ROW(fchmod, 1), ROW(fchmodat, 1), ROW(fchmodat2, 1), ROW(chown, 1),
    ROW(lchown, 1), ROW(fchown, 1), ROW(fchownat, 1), ROW(chown_to_other, 1), ROW(utimensat, 1),
    ROW(futimens, 1), ROW(utime, 1), ROW(utimes, 1), ROW(futimesat, 1), ROW(setxattr, 1), ROW(lsetxattr, 1),
    ROW(fsetxattr, 1), ROW(removexattr, 1), ROW(lremovexattr, 1), ROW(fremovexattr, 1), ROW(setxattrat, 1),
    ROW(removexattrat, 1), ROW(set_acl, 1), ROW(set_file_capability, 1), ROW(setflags, 1), ROW(fssetxattr, 1),
    ROW(file_setattr, 1), ROW(flock, 1), ROW(lease, 1), ROW(record_lock, 1), ROW(dnotify, 1), ROW(inotify, 1),
    ROW(name_to_handle, 1), ROW(open_by_handle, 2), ROW(socket, 2), ROW(socketpair, 1), ROW(connect_unix, 2),
    ROW(pair_connect, 1), ROW(pair_sendto, 1), ROW(pair_sendmsg, 1), ROW(pair_bind, 1), ROW(tcp, 1),
    ROW(tcp_fast_open, 1), ROW(udp, 1), ROW(listen, 0), ROW(bind_unix, 1), ROW(pass_descriptor, 1),
    ROW(receive_message, 0), ROW(fork, 0), ROW(vfork, 0), ROW(clone, 0), ROW(clone3, 0), ROW(thread, 0),
    ROW(execve, 1), ROW(execveat, 1), ROW(memfd_exec, 0), ROW(write_and_exec, 1), ROW(memfd, 0),
    ROW(memfd_secret, 0), ROW(ptrace_attach, 1), ROW(ptrace_seize, 1), ROW(traceme, 0), ROW(vm_read, 1),
    ROW(vm_write, 1), ROW(pidfd_open, 1), ROW(pidfd_getfd, 1), ROW(pidfd_getfd_alone, 0), ROW(pidfd_send, 1),
    ROW(kill, 1), ROW(kill_group, 1), ROW(kill_all, 0), ROW(tkill, 1), ROW(tgkill, 1), ROW(sigqueue, 1),
    ROW(tgsigqueue, 1), ROW(signal_by_input, 1), ROW(prlimit, 1), ROW(setpriority, 1), ROW(ioprio, 1),
    ROW(affinity, 1), ROW(scheduler, 1), ROW(kcmp, 1), ROW(move_pages, 1), ROW(process_madvise, 1),
    ROW(robust_list, 1), ROW(mount, 1), ROW(bind_mount, 2), ROW(umount, 1), ROW(open_tree, 1),
    ROW(open_tree_attr, 1), ROW(open_tree_plain, 1), ROW(fsopen, 1), ROW(fspick, 1), ROW(fsmount, 1),
    ROW(move_mount, 2), ROW(pivot_root, 1), ROW(mount_setattr, 1), ROW(chroot, 1), ROW(unshare, 1),
    ROW(clone_user, 0), ROW(setns, 1), ROW(bpf, 0), ROW(add_key, 0), ROW(keyctl, 0), ROW(request_key, 0),
    ROW(io_uring, 0), ROW(userfaultfd, 0), ROW(perf, 0), ROW(personality, 0), ROW(setuid, 0),
    ROW(setresuid, 0), ROW(setgid, 0), ROW(setgroups, 0), ROW(setfsuid, 0), ROW(capset, 0), ROW(ambient, 0),
    ROW(no_pdeathsig, 0), ROW(dumpable, 0), ROW(seccomp, 0), ROW(landlock, 0), ROW(mlock, 0),
    ROW(shmget, 0), ROW(semget, 0), ROW(msgget, 0), ROW(mq_open, 1), ROW(fanotify, 0), ROW(hostname, 0),
    ROW(klog, 0), ROW(module, 0), ROW(quota, 1), ROW(timer_slack, 0), ROW(ldt, 0), ROW(iopl, 0),
    ROW(int80, 1), ROW(x32, 1), ROW(call, 1), ROW(wait, 0),
};

/*
 * ---- what the test needs outside of the jail
 * --------------------------------------------------------------------
 */

/* A datagram socket that prints what comes; the test's own language has none. */
static int serve(const char *path) {
  struct sockaddr_un address;
  socklen_t length = unix_address(&address, path);
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0) return 1;
  if (write(1, "ready\n", 6) < 0) return 1;
  char byte;
  while (recv(fd, &byte, 1, 0) >= 0) continue;
  return 0;
}

static int print_handle(const char *path) {
  struct handle handle = {.bytes = sizeof handle.rest};
  int mount;
  if (syscall(SYS_name_to_handle_at, AT_FDCWD, path, &handle, &mount, 0) < 0) return 1;
  printf("%08x", (unsigned)handle.type);
  for (unsigned i = 0; i < handle.bytes; i++) printf("%02x", handle.rest[i]);
  return 0;
}

/*
 * --kernel WHAT UID GID PROGRAM ARGUMENT...: runs a program as that user on another kernel.
 * "landlock=N": a kernel whose Landlock has that ABI. "landlock=none": a kernel without it.
 * "namespaces=none": a kernel that gives an ordinary user no namespaces.
 * This changes only one answer of the kernel; the program then uses no more than such a kernel has. Root may
 * install the filter without no_new_privs, so file capabilities hold.
 */
static int with_kernel(char **arg) {
  bool none = strstr(arg[0], "=none") != NULL, landlock = strncmp(arg[0], "landlock=", 9) == 0;
  unsigned answer_to_ask = none ? SECCOMP_RET_ERRNO | (landlock ? ENOSYS : EPERM) : SECCOMP_RET_USER_NOTIF;
  unsigned call = landlock ? SYS_landlock_create_ruleset : SYS_unshare;
  const struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4),
      /* landlock_create_ruleset's third argument; unshare has one only, and all of it is refused. */
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LANDLOCK_CREATE_RULESET_VERSION, 1, 0),
      BPF_STMT(BPF_JMP | BPF_JA, landlock ? 1 : 0),
      BPF_STMT(BPF_RET | BPF_K, answer_to_ask),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, (struct sock_filter *)code};
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) < 0) return 125;
  /*
   * One table of descriptors for both, until the child becomes the program: so the parent has the listener,
   * too.
   */
  pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    int flags = none ? 0 : SECCOMP_FILTER_FLAG_NEW_LISTENER;
    int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0 || write(ready[1], &listener, sizeof listener) < 0) _exit(125);
    if (setgroups(0, NULL) < 0 || setgid((gid_t)number(arg[2])) < 0) _exit(125);
    if (setuid((uid_t)number(arg[1])) < 0) _exit(125);
    execve(arg[3], arg + 3, environ);
    _exit(125);
  }
  int listener = -1, status;
  if (child < 0 || read(ready[0], &listener, sizeof listener) < 0) return 125;
  struct pollfd ends = {.fd = listener, .events = POLLIN};
  /* Until the last process under the filter has ended. */
  while (!none && poll(&ends, 1, -1) > 0 && (ends.revents & POLLIN) != 0) {
    struct seccomp_notif asked = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0) continue;
    struct seccomp_notif_resp answer = {.id = asked.id, .val = number(arg[0] + 9)};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
  if (waitpid(child, &status, 0) < 0) return 125;
  if (WIFSIGNALED(status)) {
    signal(WTERMSIG(status), SIG_DFL);
    kill(getpid(), WTERMSIG(status));
  }
  return WEXITSTATUS(status);
}

/*
 * --hold MOUNTPOINT FOLDER: a mount namespace of an ordinary user's own, in which FOLDER is at MOUNTPOINT too. To
 * others of the same user it is /proc/PID/root/MOUNTPOINT, until the standard input ends.
 */
static int hold(char **arg) {
  char line[64], byte;
  const char *const maps[] = {"/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"};
  uid_t uid = getuid();
  gid_t gid = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return 1;
  for (int i = 0; i < 3; i++) {
    unsigned id = i == 1 ? uid : gid;
    int size = i == 0 ? snprintf(line, sizeof line, "deny") : snprintf(line, sizeof line, "%u %u 1", id, id);
    int fd = open(maps[i], O_WRONLY);
    if (fd < 0 || write(fd, line, (size_t)size) != size || close(fd) < 0) return 1;
  }
  if (syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return 1;
  if (syscall(SYS_mount, arg[1], arg[0], NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(arg[0]) < 0) return 1;
  if (open(arg[0], O_PATH) < 0 || write(1, "ready\n", 6) < 0) return 1;
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}

/*
 * --with DESCRIPTOR WAY PATH PROGRAM ARGUMENT...: becomes a program that has this descriptor besides the usual ones.
 * WAY: "path" or one of open_flags opens PATH. "none" closes the descriptor. "epoll" does not use PATH.
 */
static int with_descriptor(char **arg) {
  int descriptor = number(arg[0]), fd = -1;
  if (strcmp(arg[1], "none") == 0) {
    close(descriptor);
  } else {
    bool is_path = strncmp(arg[1], "path", 4) == 0, is_link = strcmp(arg[1], "path-nofollow") == 0;
    if (strcmp(arg[1], "epoll") == 0) fd = epoll_create1(0);
    else fd = open(arg[2], is_path ? O_PATH | (is_link ? O_NOFOLLOW : 0) : open_flags(arg[1]));
    if (fd < 0 || (fd != descriptor && (dup2(fd, descriptor) < 0 || close(fd) < 0))) return 125;
  }
  execve(arg[3], arg + 3, environ);
  return 125;
}

/*
 * --terminal FILE: for a start-up file of an account. Writes the terminals that it can reach, one a line, and whether it
 * can type there (a blank); then "looked".
 */
static int look_for_terminal(const char *path) {
  FILE *said = fopen(path, "a");
  if (!said) return 1;
  int own = open("/dev/tty", O_RDWR);
  if (own >= 0) fprintf(said, "opened /dev/tty\n");
  for (int fd = 0; fd < 64; fd++) {
    if (!isatty(fd)) continue;
    fprintf(said, "descriptor %d is %s\n", fd, fd == own ? "/dev/tty" : ttyname(fd));
    if (ioctl(fd, TIOCSTI, " ") == 0) fprintf(said, "typed into descriptor %d\n", fd);
  }
  fprintf(said, "looked as %u in session %d of %d\n", (unsigned)getuid(), getsid(0), getppid());
  return fclose(said) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--terminal") == 0) return look_for_terminal(argv[2]);
  if (argc == 4 && strcmp(argv[1], "--hold") == 0) return hold(argv + 2);
  if (argc >= 6 && strcmp(argv[1], "--with") == 0) return with_descriptor(argv + 2);
  if (argc >= 6 && strcmp(argv[1], "--kernel") == 0) return with_kernel(argv + 2);
  if (argc == 3 && strcmp(argv[1], "--serve") == 0) return serve(argv[2]);
  if (argc == 3 && strcmp(argv[1], "--handle") == 0) return print_handle(argv[2]);
  if (argc == 2 && strcmp(argv[1], "--executed") == 0) return printf("executed\n") < 0;
  if (argc == 2 && strcmp(argv[1], "--victim") == 0) {
    if (write(1, "ready\n", 6) < 0) return 1;
    char byte;
    while (read(0, &byte, 1) != 0) continue; /* until the test has ended, however it ended */
    return 0;
  }

  static char line[16384];
  size_t length = 0;
  /* Byte by byte, because the bytes after the line belong to the attempt. */
  while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n') length++;
  line[length] = '\0';
  char *words[16] = {NULL};
  int count = 0;
  for (char *word = strtok(line, "\t"); word && count < 15; word = strtok(NULL, "\t")) words[count++] = word;

  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    if (count == 0 || strcmp(attempts[i].name, words[0]) != 0) continue;
    if (count - 1 < attempts[i].arguments) break;
    errno = 0;
    const char *answer = attempts[i].run(words + 1) == 0 ? "OK" : strerrorname_np(errno);
    char said[256];
    int size = snprintf(said, sizeof said, "%s\t%s\n", words[0], answer ? answer : "unknown");
    return write(1, said, (size_t)size) == size ? 0 : 1;
  }
  static const char unknown[] = "?\tno such attempt\n";
  return write(1, unknown, sizeof unknown - 1) < 0 ? 2 : 2;
}
