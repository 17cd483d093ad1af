use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::cargo::as_in_a_shell;

/// One bash, so that what a command exports is there for the next.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What no command prints.
const END: &str = "--- the command of the book has ended with ";

impl Shell {
    pub fn start(folder: &Path) -> Result<Self, String> {
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc"]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        as_in_a_shell(&mut bash);
        let mut child = bash.spawn().map_err(|error| format!("bash: {error}"))?;
        let input = child.stdin.take().expect("standard input is piped");
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Ok(Self { child, input, output })
    }

    /// What a command prints to standard output, and its exit status.
    pub fn run(&mut self, command: &str) -> Result<(String, i32), String> {
        // A command that reads must not swallow those behind it.
        let written =
            writeln!(self.input, "{{ {command}\n}} < /dev/null\nstatus=$?; echo; echo \"{END}$status\"");
        written.and_then(|()| self.input.flush()).map_err(|error| format!("bash: {error}"))?;
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).map_err(|error| format!("bash: {error}"))?;
            if read == 0 {
                return Err(format!("bash ended at {command:?}"));
            }
            if let Some(status) = line.strip_prefix(END) {
                let status = status.trim().parse().map_err(|error| format!("{line}: {error}"))?;
                return Ok((printed, status));
            }
            printed += &line;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_share_a_shell_and_say_how_they_ended() {
        let mut shell = Shell::start(Path::new(".")).unwrap();
        assert_eq!(shell.run("export A=1; false").unwrap().1, 1);
        let (printed, status) = shell.run("echo $A; read B; echo $?").unwrap();
        assert_eq!((printed.trim_end(), status), ("1\n1", 0));
    }

    /// Cargo would compile what depends on these once more.
    #[test]
    fn commands_do_not_see_what_cargo_told_this_program() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let mut shell = Shell::start(Path::new(".")).unwrap();
        let (printed, _) = shell.run("env | grep -E '^CARGO_(PKG|MANIFEST|BIN)_'").unwrap();
        assert_eq!(printed.trim(), "");
    }
}
