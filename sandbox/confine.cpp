#include "sandbox/confine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>

namespace gpumcp::sandbox {
namespace {

// linux/landlock.h of the systems that we build on is older than what newer kernels know.
struct RulesetAttr {
  uint64_t handled_access_fs, handled_access_net, scoped;
};
struct [[gnu::packed]] PathBeneath {
  uint64_t allowed_access;
  int32_t parent_fd;
};
constexpr uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadDir = 1 << 3,
                   kTruncate = 1 << 14, kIoctlDevice = 1 << 15;
// Removing and making of all kinds but devices, and moving between folders.
constexpr uint64_t kEntries =
    1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13;
constexpr uint64_t kAllFiles = (1 << 16) - 1;
constexpr uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;
constexpr uint64_t kBindTcp = 1 << 0, kConnectTcp = 1 << 1;
constexpr uint64_t kAbstractSockets = 1 << 0, kSignals = 1 << 1;
constexpr long kNeededAbi = 6;
constexpr unsigned kCreateRulesetVersion = 1;

[[noreturn]] void failed(const char* what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

class Ruleset {
 public:
  explicit Ruleset(const RulesetAttr& attr)
      : fd_(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0))) {
    if (fd_ < 0) failed("Landlock");
  }
  ~Ruleset() { ::close(fd_); }
  Ruleset(const Ruleset&) = delete;
  Ruleset& operator=(const Ruleset&) = delete;

  void allow(const std::filesystem::path& path, uint64_t access) {
    const int at = ::open(path.c_str(), O_PATH | O_CLOEXEC);
    if (at < 0) return;  // not there, so nothing to allow
    struct stat info{};
    if (fstat(at, &info) == 0 && !S_ISDIR(info.st_mode)) access &= kOfFiles;
    const PathBeneath rule{access, at};
    const bool ok = access == 0 || syscall(SYS_landlock_add_rule, fd_, 1, &rule, 0) == 0;
    const int why = errno;
    ::close(at);
    errno = why;
    if (!ok) failed(fmt::format("Landlock, {}", path.string()).c_str());
  }
  void apply() {
    if (syscall(SYS_landlock_restrict_self, fd_, 0) != 0) failed("Landlock");
  }

 private:
  const int fd_;
};

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif

// A filter is a list of tests, each of which ends it or goes on to the next.
class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0));
    program_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
#if defined(__x86_64__)
    load(offsetof(seccomp_data, nr));  // the x32 table names the same calls by other numbers
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
    program_.push_back(refuse(ENOSYS));
#endif
  }
  void refuse_call(long number, int error) {
    load(offsetof(seccomp_data, nr));
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program_.push_back(refuse(error));
  }
  // The call, unless its first argument is `only`.
  void refuse_unless(long number, uint32_t only, int error) {
    load(offsetof(seccomp_data, nr));
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 3));
    load(offsetof(seccomp_data, args));  // its lower half: these machines are little-endian
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, only, 1, 0));
    program_.push_back(refuse(error));
  }
  // The call, if its first argument has any of these bits.
  void refuse_flags(long number, uint32_t flags, int error) {
    load(offsetof(seccomp_data, nr));
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 3));
    load(offsetof(seccomp_data, args));
    program_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1));
    program_.push_back(refuse(error));
  }
  void apply() {
    program_.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog all{static_cast<unsigned short>(program_.size()), program_.data()};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &all) != 0)
      failed("seccomp");
  }

 private:
  static sock_filter refuse(int error) {
    return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
  }
  void load(size_t offset) {
    program_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
  }
  std::vector<sock_filter> program_;
};

void give_up_new_rights() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) failed("no_new_privs");
}

}  // namespace

std::string landlock_problem() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateRulesetVersion);
  if (abi < 0)
    return fmt::format("this kernel has no Landlock, or it is switched off ({})",
                       std::strerror(errno));
  if (abi < kNeededAbi)
    return fmt::format(
        "Landlock of this kernel (version {}) cannot keep signals in; version {}, of Linux 6.12, "
        "can",
        abi, kNeededAbi);
  return {};
}

void confine_files(const Confinement& confinement) {
  if (std::string problem = landlock_problem(); !problem.empty()) throw std::runtime_error(problem);
  give_up_new_rights();
  Ruleset rules(
      {kAllFiles, confinement.network ? 0 : kBindTcp | kConnectTcp, kAbstractSockets | kSignals});
  for (auto& path : confinement.read) rules.allow(path, kExecute | kReadFile | kReadDir);
  constexpr uint64_t kWrite = kExecute | kReadFile | kReadDir | kWriteFile | kTruncate | kEntries;
  for (auto& path : confinement.write) rules.allow(path, kWrite);
  for (auto& path : confinement.entries) rules.allow(path, kEntries);
  // Devices: the harmless ones, and GPUs.
  for (const char* device : {"null", "zero", "full", "random", "urandom"})
    rules.allow(fmt::format("/dev/{}", device), kReadFile | kWriteFile | kIoctlDevice);
  std::error_code ignored;
  for (auto& entry : std::filesystem::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("nvidia") || name == "dri" || name == "kfd")
      rules.allow(entry.path(), kReadFile | kReadDir | kWriteFile | kIoctlDevice);
  }
  rules.apply();
}

void confine_calls(bool network, bool connect) {
  if (kArchitecture == 0) throw std::runtime_error("seccomp: no filter for this kind of machine");
  give_up_new_rights();
  Filter filter;
  for (const long call : {SYS_ptrace,
                          SYS_process_vm_readv,
                          SYS_process_vm_writev,
                          SYS_kcmp,
                          SYS_pidfd_getfd,
                          SYS_mount,
                          SYS_umount2,
                          SYS_pivot_root,
                          SYS_chroot,
                          SYS_setns,
                          SYS_unshare,
                          SYS_fsopen,
                          SYS_fsmount,
                          SYS_move_mount,
                          SYS_open_tree,
                          SYS_mount_setattr,
                          SYS_bpf,
                          SYS_perf_event_open,
                          SYS_userfaultfd,
                          SYS_keyctl,
                          SYS_add_key,
                          SYS_request_key,
                          SYS_kexec_load,
                          SYS_init_module,
                          SYS_finit_module,
                          SYS_delete_module,
                          SYS_reboot,
                          SYS_swapon,
                          SYS_swapoff,
                          SYS_acct,
                          SYS_open_by_handle_at,
                          SYS_quotactl,
                          SYS_settimeofday,
                          SYS_clock_settime,
                          SYS_sethostname,
                          SYS_setdomainname,
                          SYS_syslog})
    filter.refuse_call(call, EPERM);
  // It does what the calls below do, past any filter.
  for (const long call : {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register})
    filter.refuse_call(call, ENOSYS);
  constexpr uint32_t kNewNamespaces = 0x7e020080;  // CLONE_NEW*, of time and mounts too
  filter.refuse_flags(SYS_clone, kNewNamespaces & ~0x80u, EPERM);
  filter.refuse_call(SYS_clone3, ENOSYS);  // its flags are in memory; callers fall back to clone
  if (!network) {
    filter.refuse_unless(SYS_socket, AF_UNIX, EACCES);
    if (!connect) filter.refuse_call(SYS_connect, EACCES);
  }
  filter.apply();
}

}  // namespace gpumcp::sandbox
