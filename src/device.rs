//! The choice of the device to compute on.
//!
//! Backends are cargo features, several of which may be compiled in; the environment variable `BURN_DEVICE` selects one
//! when a program starts. Burn's `Device::default()` follows it too, but panics if that device is unavailable; here this
//! is an error with advice.

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Mutex, OnceLock};

use burn::tensor::{DType, Device, DeviceType, GradientCheckpointingStrategy, Tensor};

use crate::error::panic_message;
use crate::{Error, Result};

/// The backends by the names of their cargo features, which are also the values of `BURN_DEVICE`, and whether this crate
/// was built with them.
const BACKENDS: [(&str, bool); 9] = [
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

/// The device that `BURN_DEVICE` selects; by default the one that Burn prefers among the compiled backends, an accelerator
/// before a CPU.
///
/// This considers the backends that are enabled by features of *this* crate: `flex`, `ndarray`, `cpu`, `cuda`, `rocm`,
/// `wgpu`, `vulkan`, `metal` and `tch`. For backends that are enabled by features of `burn`, use `Device::default()`.
///
/// The first call computes one number on the device. Burn panics if there is no driver or card, so the panic hook of the
/// process is replaced during this call; make it before starting threads that may panic.
///
/// # Errors
///
/// [`Error::Config`] for a name that is not one of these, for a backend that is not compiled in, if none is, and for a
/// device that is unavailable.
///
/// # Example
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

/// Backends initialize their device on its first use.
fn compute_on(device: &Device) {
    let _ = Tensor::<1>::ones([1], device).into_data();
}

/// Whether a tensor is one of flex, without autodiff.
#[cfg(feature = "flex")]
pub(crate) fn is_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.clone().try_into_primitive::<burn::backend::Flex>().is_ok()
}

/// Whether a tensor is one of flex, which is not compiled in.
#[cfg(not(feature = "flex"))]
pub(crate) fn is_flex<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

fn unavailable(name: Option<&str>, failure: &str) -> String {
    let device = name.map_or("Burn's choice".to_string(), |name| format!("{name:?}"));
    let failure = failure.lines().next().unwrap_or_default();
    format!(
        "the device ({device}) is unavailable: {failure}. Is there a driver, and does it detect the card? `vulkaninfo --summary` \
         lists what wgpu and vulkan can use, `nvidia-smi` what cuda can. {VARIABLE}=flex computes without"
    )
}

/// The message of the first panic during `work`, on any thread; `None` if it returned. Nothing is printed.
fn panics_of(work: impl FnOnce()) -> Option<String> {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let before = panic::take_hook();
    let collected = messages.clone();
    panic::set_hook(Box::new(move |info| {
        if let Ok(mut collected) = collected.lock() {
            collected.push(message(info));
        }
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    let first = messages.lock().ok().and_then(|messages| messages.first().cloned());
    done.err().map(|payload| first.unwrap_or_else(|| panic_message(payload.as_ref())))
}

fn message(info: &PanicHookInfo<'_>) -> String {
    panic_message(info.payload())
}

/// The type in which `exp`, `atan2` and their like are computed for values of a type.
///
/// Half precision loses digits at each of them. Shaders have them for float32 at most, and some drivers answer for float64
/// with anything but an error, so that only processors are trusted with it.
pub(crate) fn function_dtype(dtype: DType, device: &Device) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::F64 if !is_cpu(device) => DType::F32,
        dtype => dtype,
    }
}

/// Whether a device computes on the processor: several threads may use it at once, each best with small batches that stay
/// in the caches.
///
/// # Example
///
/// ```
/// use burn_revision::device::{from_environment, is_cpu};
///
/// let device = from_environment()?;
/// let batch_size = if is_cpu(&device) { 8 } else { 64 };
/// # assert!(batch_size > 0);
/// # Ok::<(), burn_revision::Error>(())
/// ```
pub fn is_cpu(device: &Device) -> bool {
    // Burn names the backend of a device only in this form.
    let name = format!("{device:?}").to_lowercase();
    ["flex", "ndarray", "cpu"].iter().any(|backend| name.contains(backend))
}

/// The first `count` devices of the backend of `device`, that itself before the others, and all with its autodiff.
///
/// # Errors
///
/// [`Error::Config`] with the backend and both counts where it has fewer.
pub(crate) fn several_devices(device: &Device, count: usize) -> Result<Vec<Device>> {
    let plain = device.clone().inner();
    let mut devices = if count > 1 { devices_like(&plain) } else { Vec::new() };
    match devices.iter().position(|found| *found == plain) {
        Some(own) => devices[..=own].rotate_right(1),
        None if devices.is_empty() => devices.push(plain),
        // A default device, which is an alias of the first.
        None => devices[0] = plain,
    }
    if devices.len() < count {
        let (backend, found) = (backend_name(&devices[0]), devices.len());
        let detail = format!("{count} are asked for, and the backend {backend} has {found} here");
        return Err(Error::config("devices", detail));
    }
    let with_autodiff = |found: Device| match device.gradient_checkpointing_strategy() {
        None => found,
        Some(GradientCheckpointingStrategy::Disabled) => found.autodiff(),
        Some(_) => found.autodiff().gradient_checkpointing(),
    };
    Ok(devices.into_iter().take(count.max(1)).map(with_autodiff).collect())
}

/// The name of the backend of a device, as Burn writes it.
fn backend_name(device: &Device) -> String {
    let name = format!("{device:?}");
    name.trim_start_matches("Device<").trim_end_matches('>').to_string()
}

/// The devices of the same kind, where Burn can list several.
fn devices_like(device: &Device) -> Vec<Device> {
    let kinds: &[(&str, DeviceType)] = &[
        #[cfg(feature = "tch")]
        ("LibTorch(Cuda", DeviceType::LibTorch),
        #[cfg(feature = "cuda")]
        ("Cube(Cuda", DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        ("Cube(Hip", DeviceType::Rocm),
        #[cfg(feature = "vulkan")]
        ("Cube(Wgpu", DeviceType::Vulkan),
        #[cfg(feature = "metal")]
        ("Cube(Wgpu", DeviceType::Metal),
        #[cfg(feature = "wgpu")]
        ("Cube(Wgpu", DeviceType::Wgpu),
    ];
    let name = backend_name(device);
    match kinds.iter().find(|(kind, _)| name.starts_with(kind)) {
        // Adapters of wgpu may be drivers that compute on the processor.
        Some((_, kind)) => {
            Device::enumerate(kind.clone()).into_iter().filter(|found| !is_cpu(found)).collect()
        }
        None => Vec::new(),
    }
}

/// Checks that a device supports a float type; `key` is the setting that requires it.
///
/// # Errors
///
/// [`Error::Config`] with the device and the type if it does not.
///
/// # Example
///
/// ```
/// use burn::tensor::{DType, Device};
/// use burn_revision::device::require_dtype;
///
/// require_dtype(&Device::default(), DType::F32, "precision")?;
/// # Ok::<(), burn_revision::Error>(())
/// ```
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

/// Checks a value of `BURN_DEVICE` on which Burn would panic.
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
                "this was built without the backend {name:?}; build it with --features {name}, or choose one of: {built}"
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
    fn names_of_compiled_backends_are_accepted_in_any_case() {
        for name in [None, Some("flex"), Some("WGPU")] {
            check_name(name, &SOME).unwrap();
        }
    }

    #[test]
    fn errors_give_advice() {
        let refused = |name, backends: &[(&str, bool)]| check_name(name, backends).unwrap_err().to_string();
        let error = refused(Some("cuda"), &SOME);
        assert!(error.contains("--features cuda") && error.contains("flex, wgpu"), "{error}");
        let error = refused(Some("gpu"), &SOME);
        assert!(error.contains("\"gpu\"") && error.contains("flex, wgpu, cuda"), "{error}");
        let error = refused(None, &[("flex", false)]);
        assert!(error.contains("--features flex"), "{error}");
    }

    #[test]
    fn more_devices_than_a_backend_has_are_refused_with_both_counts() {
        let device = Device::default();
        let checkpointing = device.clone().autodiff().gradient_checkpointing();
        for device in [device.clone(), device.clone().autodiff(), checkpointing] {
            let found = several_devices(&device, 1).unwrap();
            let strategy = device.gradient_checkpointing_strategy();
            assert_eq!(found[0].gradient_checkpointing_strategy(), strategy);
            assert_eq!(found, [device]);
        }
        let error = several_devices(&device, 1000).unwrap_err().to_string();
        let found = devices_like(&device).len().max(1);
        assert!(error.contains("1000 are") && error.contains(&format!("has {found} here")), "{error}");
        assert!(error.contains(&backend_name(&device)), "{error}");
        #[cfg(feature = "flex")]
        {
            let error = several_devices(&Device::flex(), 2).unwrap_err().to_string();
            assert!(error.contains("backend Flex(Cpu) has 1 here"), "{error}");
        }
    }

    #[test]
    fn panics_become_the_first_message() {
        assert_eq!(panics_of(|| {}), None);
        let failure = panics_of(|| {
            let service = std::thread::spawn(|| panic!("no adapter found"));
            service.join().expect("the service answers");
        });
        assert_eq!(failure.as_deref(), Some("no adapter found"));
    }

    #[test]
    fn the_error_of_an_unavailable_device_gives_an_alternative() {
        let error = unavailable(Some("wgpu"), "no adapter found\nstack of words");
        assert!(error.contains("\"wgpu\"") && error.contains("no adapter found"), "{error}");
        assert!(error.contains("BURN_DEVICE=flex") && !error.contains("stack"), "{error}");
    }

    #[test]
    fn an_unsupported_type_is_an_error_with_its_name() {
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
