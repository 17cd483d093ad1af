//! The device to compute on, and what it can do.
//!
//! Backends are cargo features, several of which may be compiled in; `BURN_DEVICE` picks one when a program starts. Burn's own
//! `Device::default()` does so too, and panics where that cannot be; here the same is an error that says what to do.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Mutex, OnceLock};

use burn::tensor::{DType, Device, Tensor};

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
/// The first call computes one number on the device. Burn panics where there is no driver or card, so meanwhile the process's
/// panic hook is replaced; call this before starting threads that may panic.
///
/// # Errors
///
/// [`Error::Config`] for a name that is not one of [`BACKENDS`], for a backend that is not compiled in, where none is, and
/// for a device that cannot be had.
///
/// ```
/// let device = burn_revision::device::from_environment()?;
/// # let rows = burn::tensor::Tensor::<1>::zeros([2], &device);
/// # Ok::<(), burn_revision::Error>(())
/// ```
pub fn from_environment() -> Result<Device> {
    let name = std::env::var_os(VARIABLE).map(|name| name.to_string_lossy().into_owned());
    check_name(name.as_deref(), &BACKENDS)?;
    static FAILURE: OnceLock<Option<String>> = OnceLock::new();
    match FAILURE.get_or_init(|| panics_of(|| compute_on(&Device::default()))) {
        None => Ok(Device::default()),
        Some(failure) => Err(Error::config(VARIABLE, unavailable(name.as_deref(), failure))),
    }
}

/// Backends look for their device at the first number that is asked for.
fn compute_on(device: &Device) {
    let _ = Tensor::<1>::ones([1], device).into_data();
}

fn unavailable(name: Option<&str>, failure: &str) -> String {
    let device = name.map_or("Burn's choice".to_string(), |name| format!("{name:?}"));
    let failure = failure.lines().next().unwrap_or_default();
    format!(
        "the device ({device}) cannot be had: {failure}. Is there a driver, and does it see the card? `vulkaninfo --summary` \
         lists what wgpu and vulkan can use, `nvidia-smi` what cuda can. {VARIABLE}=flex computes without"
    )
}

/// What was said first by the panics during `work`, on whatever thread; none if it returned. Nothing is printed.
fn panics_of(work: impl FnOnce()) -> Option<String> {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let before = panic::take_hook();
    let heard = messages.clone();
    panic::set_hook(Box::new(move |info| {
        if let Ok(mut heard) = heard.lock() {
            heard.push(message(info));
        }
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    let first = messages.lock().ok().and_then(|messages| messages.first().cloned());
    done.err().map(|payload| first.unwrap_or_else(|| text(payload.as_ref())))
}

fn message(info: &PanicHookInfo<'_>) -> String {
    text(info.payload())
}

fn text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(ToString::to_string);
    literal
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
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
    fn panics_become_what_was_said_first() {
        assert_eq!(panics_of(|| {}), None);
        let failure = panics_of(|| {
            let service = std::thread::spawn(|| panic!("no adapter found"));
            service.join().expect("the service answers");
        });
        assert_eq!(failure.as_deref(), Some("no adapter found"));
    }

    #[test]
    fn a_device_that_cannot_be_had_leads_to_another() {
        let error = unavailable(Some("wgpu"), "no adapter found\nstack of words");
        assert!(error.contains("\"wgpu\"") && error.contains("no adapter found"), "{error}");
        assert!(error.contains("BURN_DEVICE=flex") && !error.contains("stack"), "{error}");
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
