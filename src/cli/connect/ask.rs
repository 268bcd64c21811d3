//! Questions at a terminal.

use std::io::{BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

/// Asks for what no flag gave, where somebody is there to answer.
pub(super) struct Prompt {
    is_there_somebody: bool,
}

impl Prompt {
    /// `may_ask` is false when the output is for a program.
    pub(super) fn new(may_ask: bool) -> Self {
        Self { is_there_somebody: may_ask && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() }
    }

    /// What the flag gave, else the answer.
    pub(super) fn given(
        &self,
        flag: Option<&str>,
        name: &str,
        wording: &str,
        default: Option<&str>,
    ) -> Result<String, String> {
        if let Some(value) = flag {
            return Ok(value.to_owned());
        }
        if !self.is_there_somebody {
            return default.map(str::to_owned).ok_or_else(|| format!("give --{name}: {wording}"));
        }
        loop {
            match (self.line(wording, default)?, default) {
                (Some(answer), _) => return Ok(answer),
                (None, Some(default)) => return Ok(default.to_owned()),
                (None, None) => println!("An answer is needed."),
            }
        }
    }

    /// What the flag gave, else the answer, which may be empty; not asked without a wording.
    pub(super) fn optional(&self, flag: Option<&str>, wording: Option<&str>) -> Result<Option<String>, String> {
        match (flag, wording) {
            (Some(value), _) => Ok(Some(value.to_owned())),
            (None, Some(wording)) if self.is_there_somebody => self.line(wording, None),
            _ => Ok(None),
        }
    }

    /// A password, not shown while it is typed.
    pub(super) fn secret(&self, name: &str, wording: &str) -> Result<String, String> {
        if !self.is_there_somebody {
            return Err(format!("give --{name}: {wording}"));
        }
        let echo = |mode: &str| {
            let _ = Command::new("stty").arg(mode).stdin(Stdio::inherit()).status();
        };
        echo("-echo");
        let answer = self.line(wording, None);
        echo("echo");
        println!();
        answer?.ok_or_else(|| "a password is needed".to_owned())
    }

    fn line(&self, wording: &str, default: Option<&str>) -> Result<Option<String>, String> {
        match default {
            Some(default) => print!("{wording} [{default}]: "),
            None => print!("{wording}: "),
        }
        std::io::stdout().flush().map_err(|error| error.to_string())?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer).map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the input ended".to_owned());
        }
        Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
    }
}
