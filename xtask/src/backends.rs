use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cargo;
use crate::machine::{BACKENDS, missing, prepare};
use crate::root;

#[derive(Args)]
pub struct Options {
    /// The backends; without any, flex and ndarray, wgpu where there is a Vulkan driver, tch where LIBTORCH names one
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
    backends: Vec<String>,
    /// Run `revision_tiny --quick` on each as well
    #[arg(long)]
    example: bool,
    /// Optimise this crate, Burn and its compilers of kernels less, and run two groups of tests at a time: sooner built and done,
    /// and right results are all that is asked here
    #[arg(long)]
    quick_build: bool,
}

/// What the names of crates begin with that are compiled anew for another set of backends.
const COMPILED_ANEW: [&str; 8] =
    ["burn", "cubecl", "cubek", "naga", "pliron", "rustc_apfloat", "tracel", "wgpu"];

/// Those among them that take longest, and whose programs the suite gives little to do.
const NOT_OPTIMISED: [&str; 2] = ["burn-flex", "burn-ndarray"];

const USUAL: [&str; 4] = ["flex", "ndarray", "wgpu", "tch"];
const SUITE: &str = "backend";
const EXAMPLE: &str = "revision_tiny";

/// How a group of tests, or the example, went.
struct Cell {
    passed: bool,
    took: Duration,
    output: String,
}

/// Builds the suite once for all backends and runs each group of its tests on each; whether all passed.
pub fn run(options: &Options) -> Result<bool, String> {
    let named: Vec<&str> = options.backends.iter().map(String::as_str).collect();
    let wanted = if named.is_empty() { USUAL.to_vec() } else { named };
    let (lacking, present): (Vec<_>, Vec<_>) =
        wanted.iter().map(|name| (*name, missing(name))).partition(|(_, why)| why.is_some());
    // A backend that was asked for by name must run: that the others pass is no answer.
    if let (false, Some((name, Some(why)))) = (options.backends.is_empty(), lacking.first()) {
        return Err(format!("{name}: {why}"));
    }
    let present: Vec<&str> = present.into_iter().map(|(name, _)| name).collect();

    // Copies: another build in the meantime must not change what is measured.
    let copies = tempfile::tempdir().map_err(|error| error.to_string())?;
    let copied = |built: PathBuf, name: &str| -> Result<PathBuf, String> {
        let copy = copies.path().join(name);
        std::fs::copy(&built, &copy).map_err(|error| format!("{}: {error}", built.display()))?;
        Ok(copy)
    };
    let lowered = if options.quick_build { lowered()? } else { Vec::new() };
    let suite = copied(build(&["--test", SUITE], &present, SUITE, &lowered)?, SUITE)?;
    // Times of what was not optimised tell nothing, and kernels are compiled on one core.
    let at_once = if options.quick_build { 2 } else { 1 };
    let groups = groups(&suite, present.first().copied().unwrap_or("flex"))?;
    let example = match options.example {
        true => Some(copied(build(&["--example", EXAMPLE], &present, EXAMPLE, &lowered)?, EXAMPLE)?),
        false => None,
    };

    let mut heads: Vec<String> = groups.iter().map(|(group, tests)| format!("{group} ({tests})")).collect();
    heads.extend(example.iter().map(|_| format!("{EXAMPLE} --quick")));
    heads.push("all".into());
    println!("| backend | {} |\n|---|{}", heads.join(" | "), "--:|".repeat(heads.len()));
    let mut failures = Vec::new();
    for backend in present {
        let mut cells = test_all(&suite, backend, &groups, at_once)?;
        if let Some(example) = &example {
            cells.push((EXAMPLE.into(), show(example, backend)?));
        }
        let total: Duration = cells.iter().map(|(_, cell)| cell.took).sum();
        let mut texts: Vec<String> = cells.iter().map(|(_, cell)| cell.to_string()).collect();
        texts.push(seconds(total));
        println!("| {backend} | {} |", texts.join(" | "));
        failures.extend(
            cells.into_iter().filter(|(_, cell)| !cell.passed).map(|(group, cell)| (backend, group, cell)),
        );
    }
    for (backend, why) in &lacking {
        println!("| {backend} | not run: {} |", why.as_deref().unwrap_or_default());
    }
    for (backend, group, cell) in &failures {
        eprintln!("\n== {group} on {backend}\n{}", cell.output);
    }
    Ok(failures.is_empty())
}

impl Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.passed { "" } else { "FAILED " })?;
        f.write_str(&seconds(self.took))
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Settings of cargo by which the crates that are compiled anew are optimised less, and on all cores: near the end of such a
/// build there is one crate at a time.
fn lowered() -> Result<Vec<String>, String> {
    let path = root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let names = names.filter(|name| COMPILED_ANEW.iter().any(|prefix| name.starts_with(prefix)));
    let settings = names.flat_map(|name| {
        let level = if NOT_OPTIMISED.contains(&name) { "opt-level=0" } else { "opt-level=1" };
        [level, "codegen-units=16"].map(|setting| format!("profile.dev.package.{name}.{setting}"))
    });
    Ok(settings.flat_map(|setting| ["--config".to_string(), setting]).collect())
}

/// Builds a target with the features of `backends` and settings of cargo; the path of its executable.
fn build(target: &[&str], backends: &[&str], name: &str, settings: &[String]) -> Result<PathBuf, String> {
    let verb = if target[0] == "--test" { ["test", "--no-run"].as_slice() } else { &["build"] };
    eprintln!("building {name} for {} (the first time takes minutes)", backends.join(", "));
    let features = backends.join(",");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let built = cargo::build(&[verb, target, &["--features", &features], &settings].concat())?;
    let program = built.into_iter().filter(|artifact| artifact.target == name);
    program
        .filter_map(|artifact| artifact.executable)
        .next_back()
        .ok_or_else(|| format!("{name} could not be built"))
}

/// The groups of tests, which are the modules of the suite, and how many tests each has.
fn groups(suite: &Path, backend: &str) -> Result<Vec<(String, usize)>, String> {
    let listed = execute(suite, backend, &["--list", "--format", "terse"])?;
    let mut groups: Vec<(String, usize)> = Vec::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let Some((group, _)) = line.split_once("::") else { continue };
        match groups.iter_mut().find(|(known, _)| known == group) {
            Some((_, tests)) => *tests += 1,
            None => groups.push((group.to_string(), 1)),
        }
    }
    if groups.is_empty() {
        return Err(format!("{} lists no tests:\n{}", suite.display(), text(&listed)));
    }
    Ok(groups)
}

/// Runs all groups of tests, so many at a time.
fn test_all(
    suite: &Path,
    backend: &str,
    groups: &[(String, usize)],
    at_once: usize,
) -> Result<Vec<(String, Cell)>, String> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<Vec<(usize, Cell)>, String> {
        let mut cells = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((group, tests)) = groups.get(number) else { return Ok(cells) };
            cells.push((number, test(suite, backend, group, *tests)?));
        }
    };
    let runs: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a group of tests")).collect()
    });
    let cells = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let cells: BTreeMap<usize, Cell> = cells.into_iter().flatten().collect();
    Ok(cells.into_iter().map(|(number, cell)| (groups[number].0.clone(), cell)).collect())
}

fn test(suite: &Path, backend: &str, group: &str, tests: usize) -> Result<Cell, String> {
    let started = Instant::now();
    let output = execute(suite, backend, &[&format!("{group}::")])?;
    let took = started.elapsed();
    let output_text = text(&output);
    // A filter that matches nothing passes as well.
    let ran = output_text.contains(&format!("{tests} passed"));
    Ok(Cell { passed: output.status.success() && ran, took, output: output_text })
}

fn show(example: &Path, backend: &str) -> Result<Cell, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let started = Instant::now();
    let output = execute(example, backend, &["--quick", "--output", &folder.path().to_string_lossy()])?;
    Ok(Cell { passed: output.status.success(), took: started.elapsed(), output: text(&output) })
}

fn execute(program: &Path, backend: &str, arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    prepare(&mut command, backend);
    command.output().map_err(|error| format!("{}: {error}", program.display()))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
