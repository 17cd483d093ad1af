//! What to do where a device has too little memory.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

/// From now on a panic that speaks of memory is followed, once, by what to do about it: backends panic where a device has
/// too little.
pub fn install() {
    let before = panic::take_hook();
    let said = Once::new();
    panic::set_hook(Box::new(move |info| {
        before(info);
        if speaks_of_memory(message(info)) {
            said.call_once(|| eprintln!("{MEMORY_ADVICE}"));
        }
    }));
}

const MEMORY_ADVICE: &str = "advice: the device has too little memory for this. A smaller micro_batch_size changes nothing but rounding; \
     gradient_checkpointing = true takes more time; then fewer num_visual_tokens or a smaller max_length; then precision = \"bf16\" for a frozen language model; \
     then adapters, trainable = \"projector-and-lora\"; or compute in the host's memory: BURN_DEVICE=flex";

/// Whether the message of a panic is about memory; the words are those of CubeCL, wgpu, CUDA and LibTorch.
fn speaks_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of memory", "outofmemory", "out_of_memory", "can't allocate", "not enough memory"]
        .iter()
        .any(|words| message.contains(words))
}

/// The message of a panic; empty where it has none.
fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_heard_in_the_words_of_the_backends() {
        for message in [
            "can't allocate buffer of size: 68719476736",
            "CUDA_ERROR_OUT_OF_MEMORY",
            "wgpu error: Out of Memory",
        ] {
            assert!(speaks_of_memory(message), "{message}");
        }
        assert!(!speaks_of_memory("index out of bounds"));
    }
}
