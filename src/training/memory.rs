/// Asks the C library to keep freed memory for the next allocation, instead of returning it to the system.
///
/// On the CPU a training step allocates and frees thousands of tensors of some megabytes; glibc returns each to the
/// system, which then fills every page with zeros again. Programs that train call this first; a library should leave the
/// choice to them. It has an effect on Linux with glibc only.
///
/// # Example
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
