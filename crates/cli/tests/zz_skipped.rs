//! The closing line of `cargo test`, whose last test this is: what was skipped, and what is needed for it.
//!
//! With `REQUIRED_TESTS=smollm2,python` it fails where a test was skipped for the want of one of these.

#[path = "../../../tests/skipped/mod.rs"]
mod skipped;

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let skipped = skipped::take();
    let needs = |note: &[String; 3]| format!("{} ({}: {})", note[1], note[0], note[2]);
    match skipped.len() {
        0 => println!("\nno test was skipped"),
        1 => println!("\n1 test was skipped: {}", needs(&skipped[0])),
        count => {
            let all: Vec<String> = skipped.iter().map(needs).collect();
            println!("\n{count} tests were skipped: {}", all.join("; "));
        }
    }
    let required = std::env::var("REQUIRED_TESTS").unwrap_or_default();
    if let Some([what, test, _]) =
        skipped.iter().find(|[what, ..]| required.split(',').any(|one| one == what))
    {
        eprintln!("error: {test} was skipped, and {what} should be here");
        std::process::exit(1);
    }
}
