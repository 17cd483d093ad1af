//! The device to compute on, and what it can do.
//!
//! Backends are cargo features, several of which may be compiled in; `BURN_DEVICE` picks one when a program starts. Burn's own
//! `Device::default()` does so too, and panics where that cannot be; here the same is an error that says what to do.

use burn::tensor::{DType, Device};

use crate::{Error, Result};

/// The backends by the names of their cargo features, which are those that `BURN_DEVICE` takes, and whether this crate
/// was built with them.
pub const BACKENDS: [(&str, bool); 9] = [
    ("flex", cfg!(feature = "flex")),
    ("ndarray", cfg!(feature = "ndarray")),
    ("cpu", cfg!(feature = "cpu")),
    ("cuda", cfg!(feature = "cuda")),
    ("rocm", cfg!(feature = "rocm")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("metal", cfg!(feature = "metal")),
    ("tch", cfg!(feature = "tch")),
];

const VARIABLE: &str = "BURN_DEVICE";

/// The device that `BURN_DEVICE` names; without it the one that Burn prefers among those that are compiled in: an
/// accelerator before a CPU.
///
/// This knows the backends that were switched on by features of *this* crate. Who switches them on by features of `burn` asks
/// Burn: `Device::default()`.
///
/// # Errors
///
/// [`Error::Config`] for a name that is not one of [`BACKENDS`], for a backend that is not compiled in, and where none is.
///
/// ```
/// let device = burn_revision::device::from_environment()?;
/// # let rows = burn::tensor::Tensor::<1>::zeros([2], &device);
/// # Ok::<(), burn_revision::Error>(())
/// ```
pub fn from_environment() -> Result<Device> {
    let name = std::env::var_os(VARIABLE).map(|name| name.to_string_lossy().into_owned());
    check_name(name.as_deref(), &BACKENDS)?;
    Ok(Device::default())
}

/// Refuses a device without the type; `key` is the setting that asked for it.
///
/// # Errors
///
/// [`Error::Config`] with the device and the type.
pub fn require_dtype(device: &Device, dtype: DType, key: &str) -> Result<()> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    let dtype = format!("{dtype:?}").to_lowercase();
    let detail = format!(
        "the device {device:?} does not compute in {dtype}; choose f32, or another device by {VARIABLE}"
    );
    Err(Error::config(key, detail))
}

/// Refuses a name of `BURN_DEVICE` that Burn would panic at.
fn check_name(name: Option<&str>, backends: &[(&str, bool)]) -> Result<()> {
    let names = |compiled: bool| -> String {
        let names = backends.iter().filter(|(_, present)| *present || !compiled).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let built = names(true);
    let detail = match name
        .map(|name| (name, backends.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))))
    {
        _ if built.is_empty() => {
            "no backend is compiled in; build with one, such as --features flex".to_string()
        }
        None | Some((_, Some((_, true)))) => return Ok(()),
        Some((_, Some((name, false)))) => {
            format!(
                "this was built without the backend {name:?}; build it with --features {name}, or choose one that is there: {built}"
            )
        }
        Some((name, None)) => {
            format!("no backend is called {name:?}; expected one of {}; built in: {built}", names(false))
        }
    };
    Err(Error::config(VARIABLE, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: [(&str, bool); 3] = [("flex", true), ("wgpu", true), ("cuda", false)];

    #[test]
    fn names_of_what_is_there_are_taken_as_burn_takes_them() {
        for name in [None, Some("flex"), Some("WGPU")] {
            check_name(name, &SOME).unwrap();
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refused = |name, backends: &[(&str, bool)]| check_name(name, backends).unwrap_err().to_string();
        let error = refused(Some("cuda"), &SOME);
        assert!(error.contains("--features cuda") && error.contains("flex, wgpu"), "{error}");
        let error = refused(Some("gpu"), &SOME);
        assert!(error.contains("\"gpu\"") && error.contains("flex, wgpu, cuda"), "{error}");
        let error = refused(None, &[("flex", false)]);
        assert!(error.contains("--features flex"), "{error}");
    }

    #[test]
    fn a_type_that_no_device_has_is_refused_by_name() {
        let device = Device::default();
        require_dtype(&device, DType::F32, "precision").unwrap();
        for dtype in [DType::F64, DType::F16, DType::BF16] {
            if let Err(error) = require_dtype(&device, dtype, "precision") {
                let text = error.to_string();
                assert!(
                    text.contains(&format!("{dtype:?}").to_lowercase()) && text.contains("f32"),
                    "{text}"
                );
            }
        }
    }
}
