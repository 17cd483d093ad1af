//! Which backends a machine can run, and what they need in the environment.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The version that burn-tch 0.22.1 is written for.
const LIBTORCH: &str = "2.9.0";
const DRIVERS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// The backends that this crate has features for.
pub const BACKENDS: [&str; 9] = ["flex", "ndarray", "wgpu", "tch", "cuda", "vulkan", "metal", "rocm", "cpu"];

/// Why this machine cannot run a backend, where it is known before anything is built.
pub fn missing(backend: &str) -> Option<String> {
    match backend {
        "wgpu" if cfg!(target_os = "linux") && drivers().is_empty() => Some(format!(
            "no Vulkan driver in {}; a software driver is in Debian's mesa-vulkan-drivers",
            DRIVERS[0]
        )),
        "tch" => libtorch(),
        "cuda" => {
            let nvidia = Path::new("/proc/driver/nvidia").exists();
            (!nvidia).then(|| "no NVIDIA driver".to_string())
        }
        "metal" => (!cfg!(target_os = "macos")).then(|| "Metal is macOS's".to_string()),
        _ => None,
    }
}

fn libtorch() -> Option<String> {
    let Some(folder) = env::var_os("LIBTORCH") else {
        return Some(format!("LIBTORCH names no folder; it takes LibTorch {LIBTORCH}"));
    };
    let file = Path::new(&folder).join("build-version");
    match fs::read_to_string(&file) {
        Ok(version) if version.trim().starts_with(LIBTORCH) => None,
        Ok(version) => Some(format!(
            "{} says that LibTorch is {}, and burn-tch takes {LIBTORCH}",
            file.display(),
            version.trim()
        )),
        Err(error) => Some(format!("{}: {error}", file.display())),
    }
}

fn drivers() -> Vec<String> {
    let entries = DRIVERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let paths = entries.map(|entry| entry.path().to_string_lossy().into_owned());
    paths.filter(|path| path.ends_with(".json")).collect()
}

/// Whether there is no graphics card, so that Vulkan means Mesa's software driver.
fn is_without_card() -> bool {
    cfg!(target_os = "linux") && !Path::new("/dev/dri").exists() && !Path::new("/dev/nvidia0").exists()
}

/// Sets what the programs of a backend need.
pub fn prepare(command: &mut Command, backend: &str) {
    command.env("BURN_DEVICE", backend);
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", env::temp_dir());
    }
    // Drivers for cards that are not there only complain.
    let software = drivers().into_iter().find(|path| path.contains("lvp_icd"));
    if backend == "wgpu"
        && is_without_card()
        && env::var_os("VK_ICD_FILENAMES").is_none()
        && let Some(driver) = software
    {
        command.env("VK_ICD_FILENAMES", driver);
        // Each candidate for the fastest kernel is a program that a software driver compiles first.
        if env::var_os("CUBECL_AUTOTUNE_LEVEL").is_none() {
            command.env("CUBECL_AUTOTUNE_LEVEL", "minimal");
        }
    }
    if backend == "tch"
        && let Some(folder) = env::var_os("LIBTORCH")
    {
        let mut path = Path::new(&folder).join("lib").into_os_string();
        if let Some(before) = env::var_os("LD_LIBRARY_PATH") {
            path.push(":");
            path.push(before);
        }
        command.env("LD_LIBRARY_PATH", path);
    }
}
