//! The floor: moves the same bytes as an alignment from file to file and computes nothing.
//!
//! The image file is read once and the text file three times, by positioned reads of a block of rows into one buffer a
//! thread; during the third reading every block's float32 rows are written by positioned writes from one buffer a thread
//! to a temporary file, which is then renamed.  Nothing is synced to the disk.  A xor of the words read keeps
//! the reads from being optimised away.
//!
//!     rustc -O -C target-cpu=native floor.rs
//!     ./floor --text T.npy --image I.npy --output O.npy [--threads 2] [--rows 64]

use std::{fs::File, io, os::unix::fs::FileExt, process, thread};

struct Matrix {
    file: File,
    rows: u64,
    dim: u64,
    start: u64,
}

/// Opens a `.npy` file and reads its shape; only version 1 headers and float16 are known.
fn open(path: &str) -> io::Result<Matrix> {
    let file = File::open(path)?;
    let mut head = vec![0; 4096.min(file.metadata()?.len() as usize)];
    file.read_exact_at(&mut head, 0)?;
    let start = 10 + u64::from(u16::from_le_bytes([head[8], head[9]]));
    let text = String::from_utf8_lossy(&head[10..start as usize]).into_owned();
    assert!(head[6] == 1 && text.contains("'<f2'"), "{path}: {text}");
    let shape = text.split("'shape': (").nth(1).and_then(|s| s.split(')').next()).expect("a shape");
    let sizes: Vec<u64> = shape.split(',').map(|n| n.trim().parse().expect("a number")).collect();
    Ok(Matrix { file, rows: sizes[0], dim: sizes[1], start })
}

/// Reads every `threads`-th block from the `first` on and writes as many rows of zeros, if there is an `output`.
fn pass(matrix: &Matrix, output: Option<&File>, first: u64, threads: u64, block: u64) -> io::Result<u64> {
    let (read, write) = (matrix.dim * 2, matrix.dim * 4);
    let mut input = vec![0u8; (block * read) as usize];
    let rows = vec![0u8; if output.is_some() { (block * write) as usize } else { 0 }];
    let mut xor = 0;
    for start in (first * block..matrix.rows).step_by((threads * block) as usize) {
        let count = block.min(matrix.rows - start);
        let input = &mut input[..(count * read) as usize];
        matrix.file.read_exact_at(input, matrix.start + start * read)?;
        for word in input.chunks_exact(8) {
            xor ^= u64::from_ne_bytes(word.try_into().unwrap());
        }
        if let Some(output) = output {
            output.write_all_at(&rows[..(count * write) as usize], HEADER + start * write)?;
        }
    }
    Ok(xor)
}

const HEADER: u64 = 128;

fn header(rows: u64, dim: u64) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((HEADER as u16 - 10).to_le_bytes());
    head.extend(format!("{text:<width$}\n", width = HEADER as usize - 11).bytes());
    head
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let flag = |name: &str| args.iter().position(|a| a == name).map(|at| args[at + 1].clone());
    let number = |name, default| flag(name).map_or(default, |n| n.parse::<u64>().expect("a number"));
    let (threads, block) = (number("--threads", 2), number("--rows", 64));
    let output = flag("--output").expect("--output");
    let image = open(&flag("--image").expect("--image"))?;
    let text = open(&flag("--text").expect("--text"))?;

    let temporary = format!("{output}.{}.tmp", process::id());
    let target = File::create(&temporary)?;
    target.write_all_at(&header(text.rows, text.dim), 0)?;
    let mut xor = 0;
    for (matrix, written) in [(&image, None), (&text, None), (&text, None), (&text, Some(&target))] {
        xor ^= thread::scope(|scope| {
            let parts: Vec<_> =
                (0..threads).map(|first| scope.spawn(move || pass(matrix, written, first, threads, block))).collect();
            parts.into_iter().map(|part| part.join().expect("a thread")).try_fold(0, |all, part| part.map(|x| all ^ x))
        })?;
    }
    std::fs::rename(&temporary, &output)?;
    eprintln!("{xor:016x}");
    Ok(())
}
