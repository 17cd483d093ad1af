//! Runs a command and prints what it cost as JSON: wall seconds, user and system CPU seconds, peak resident bytes.
//!
//! A process's peak memory, as Linux reports it, starts from that of the process that started it.  So the
//! rivals are started from here, a few megabytes, and not from the Python runner.
//!
//!     ./launch PROGRAM ARGUMENTS...

use std::{env, process::Command, time::Instant};

/// `struct rusage` of 64-bit Linux.
#[repr(C)]
#[derive(Default)]
struct Usage {
    user: [i64; 2],
    system: [i64; 2],
    max_rss_kib: i64,
    rest: [i64; 13],
}

extern "C" {
    fn wait4(pid: i32, status: *mut i32, options: i32, usage: *mut Usage) -> i32;
}

fn main() {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let begin = Instant::now();
    let child = Command::new(&args[0]).args(&args[1..]).spawn().expect("a program that can be started");
    let (mut status, mut usage) = (0, Usage::default());
    let pid = child.id() as i32;
    // SAFETY: both pointers are to live values of the sizes that wait4 writes.
    assert_eq!(unsafe { wait4(pid, &mut status, 0, &mut usage) }, pid, "wait4");
    let wall = begin.elapsed().as_secs_f64();
    let seconds = |[s, us]: [i64; 2]| s as f64 + us as f64 / 1e6;
    println!(
        "{{\"wall\": {wall}, \"user\": {}, \"sys\": {}, \"rss\": {}, \"status\": {status}}}",
        seconds(usage.user),
        seconds(usage.system),
        usage.max_rss_kib * 1024
    );
}
