use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;

/// A command of a page and what the page prints under it.
#[derive(Debug, PartialEq)]
pub struct Session {
    /// Where it stands, from 1.
    pub line: usize,
    pub command: String,
    pub expected: Vec<String>,
}

/// The commands in the `console` blocks of a page.
pub fn sessions(page: &str) -> Result<Vec<Session>, String> {
    let mut found: Vec<Session> = Vec::new();
    let mut inside = false;
    let mut lines = page.lines().enumerate();
    while let Some((number, text)) = lines.next() {
        if text.starts_with("```") {
            inside = !inside && text == "```console";
            continue;
        }
        if !inside {
            continue;
        }
        let Some(start) = text.strip_prefix("$ ") else {
            let last =
                found.last_mut().ok_or_else(|| format!("line {}: output without a command", number + 1))?;
            last.expected.push(text.to_string());
            continue;
        };
        let mut command = start.to_string();
        // A command goes on behind a backslash, and as long as bash finds a quote, a brace or a here-document open.
        while command.ends_with('\\') || !is_whole(&command)? {
            let (_, more) =
                lines.next().ok_or_else(|| format!("line {}: {command:?} has no end", number + 1))?;
            command = format!("{command}\n{more}");
        }
        found.push(Session { line: number + 1, command, expected: Vec::new() });
    }
    Ok(found)
}

fn is_whole(command: &str) -> Result<bool, String> {
    let checked = Command::new("bash").args(["-n", "-c", command]).output();
    // Of a here-document without its end bash only warns.
    checked
        .map(|output| output.status.success() && output.stderr.is_empty())
        .map_err(|error| format!("bash: {error}"))
}

/// The page with what a command printed in place of what the page says under it.
pub fn replaced(page: &str, session: &Session, printed: &str) -> String {
    let mut lines: Vec<&str> = page.lines().collect();
    let start = session.line - 1 + session.command.lines().count();
    lines.splice(start..start + session.expected.len(), printed.trim_end().lines());
    lines.join("\n") + "\n"
}

/// How what was printed differs from what the page says; a line `...` stands for any number of lines, and times and rates
/// for any others.
pub fn unlike(expected: &[String], printed: &str) -> Option<String> {
    let lines = |text: &str| timeless(text.trim_end());
    let expected: Vec<String> = expected.iter().map(|line| lines(line)).collect();
    let expected = &expected[..expected.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1)];
    let printed: Vec<String> = printed.trim_end().lines().map(lines).collect();
    if expected.is_empty() || matches(expected, &printed) {
        return None;
    }
    let strange = expected.iter().find(|line| *line != "..." && !printed.contains(line));
    Some(match strange {
        Some(line) => format!("the page says, and it was not printed: {line}"),
        None => "other lines, or in another order, than the page says".to_string(),
    })
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed.first() == Some(first) && matches(rest, &printed[1..]),
    }
}

/// A line with times and rates taken out, and runs of spaces as one.
fn timeless(line: &str) -> String {
    static TIMES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\d+(\.\d+)? ?(ms|s|min|GB/s|MB/s|rows/s|pictures/s|texts/s|tokens/s)\b")
            .expect("the pattern is valid")
    });
    static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" {2,}").expect("the pattern is valid"));
    SPACES.replace_all(&TIMES.replace_all(line, "<time>"), " ").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn commands_and_their_output_are_read() {
        let page = "text\n```console\n$ echo 'a\nb'\na\nb\n$ echo c \\\n  d\n```\n```rust\n$ no\n```\n";
        let found = sessions(page).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].command.as_str()), (3, "echo 'a\nb'"));
        assert_eq!(found[0].expected, ["a", "b"]);
        assert_eq!(found[1].command, "echo c \\\n  d");
        let found = sessions("```console\n$ cat << 'END'\n$ 1\nEND\n$ 1\n```").unwrap();
        let commands: Vec<&str> = found.iter().map(|session| session.command.as_str()).collect();
        assert_eq!(commands, ["cat << 'END'\n$ 1\nEND", "1"]);
        assert!(sessions("```console\nno command\n```").is_err());
    }

    #[test]
    fn output_is_compared_line_by_line() {
        assert_eq!(unlike(&lines("a\nb"), "a\nb\n"), None);
        assert!(unlike(&lines("a\nb"), "a\nc\n").unwrap().contains("not printed: b"));
        assert!(unlike(&lines("a"), "a\nb\n").is_some());
        assert!(unlike(&lines("b\na"), "a\nb\n").is_some());
        assert_eq!(unlike(&lines("a\n...\nd"), "a\nb\nc\nd\n"), None);
        assert!(unlike(&lines("a\n...\nd"), "a\nb\n").is_some());
        assert_eq!(unlike(&[], "anything"), None);
    }

    #[test]
    fn what_was_printed_takes_the_place_of_what_the_page_says() {
        let page = "text\n```console\n$ echo 'a\nb'\na\nc\n$ echo d\ne\n```\nend\n";
        let mut updated = page.to_string();
        for (session, printed) in sessions(page).unwrap().iter().zip(["a\nb\nb\n", "d\n"]).rev() {
            updated = replaced(&updated, session, printed);
        }
        assert_eq!(updated, "text\n```console\n$ echo 'a\nb'\na\nb\nb\n$ echo d\nd\n```\nend\n");
    }

    #[test]
    fn times_and_rates_may_differ_and_figures_may_not() {
        assert_eq!(unlike(&lines("read 5.6 MB in 0.004 s: 2.01 GB/s"), "read 5.6 MB in 3 s: 1 GB/s"), None);
        assert!(unlike(&lines("gap 0.415"), "gap 0.416").is_some());
    }
}
