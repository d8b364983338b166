//! File systems that can be filled and made read-only.

use std::io::Write;
use std::path::Path;

/// A mounted file system, unmounted when dropped.
pub struct Mount(tempfile::TempDir);

impl Mount {
    /// `None` without the right to mount, which only root has; the test then prints SKIPPED, and fails on CI.
    pub fn tmpfs(options: &str) -> Option<Self> {
        let mount = Self(tempfile::tempdir().unwrap());
        let path = mount.0.path();
        if run_command("mount", &["-t", "tmpfs", "-o", options, "tmpfs", path.to_str().unwrap()]) {
            return Some(mount);
        }
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount a tmpfs");
        // Not `println`: the test harness captures the output of a passing test.
        std::io::stderr().write_all(b"SKIPPED: a tmpfs cannot be mounted here; run as root\n").unwrap();
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn remount(&self, mode: &str) -> bool {
        run_command("mount", &["-o", &format!("remount,{mode}"), self.path().to_str().unwrap()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run_command("umount", &["-l", self.path().to_str().unwrap()]);
    }
}

fn run_command(program: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
