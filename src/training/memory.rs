/// Asks the C library to keep the memory that is freed for the next allocation, instead of handing it back to the system.
///
/// On the CPU a step of training makes and drops thousands of tensors of some megabytes; glibc gives each back and asks
/// for it again, and the system fills every page with zeros anew. Programs that train call this first; a library should
/// leave the choice to them. Elsewhere than on Linux with glibc it does nothing.
///
/// ```
/// burn_revision::training::keep_freed_memory();
/// ```
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    {
        const HALF_A_GIBIBYTE: i32 = 1 << 29;
        for (option, value) in [
            (libc::M_MMAP_THRESHOLD, i32::MAX),
            (libc::M_TRIM_THRESHOLD, i32::MAX),
            (libc::M_TOP_PAD, HALF_A_GIBIBYTE),
        ] {
            // SAFETY: mallopt takes two numbers and may be called at any time; what it refuses changes nothing.
            unsafe { libc::mallopt(option, value) };
        }
    }
}
