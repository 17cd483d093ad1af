//! The `burn-revision` program; see `burn-revision --help`.

fn main() -> std::process::ExitCode {
    burn_revision::cli::main()
}
