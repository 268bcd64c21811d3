//! `offhook check FILE…`: a compiler for agent files and configuration.

use super::{engines, speech_check};
use crate::agent::diagnostic::{Diagnostic, Position, Severity, nearest};
use crate::agent::{self, Checked};
use crate::config::Config;
use crate::providers::registry::{Local, Registry};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks agent files and configuration and shows every problem with its place and what would be right.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  offhook check examples/clinic.yaml --set booking_url=https://booking.example.com\n  offhook check offhook.toml"
)]
pub struct Check {
    /// Agent files (YAML) or configuration (TOML, with the agents it names).
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// One JSON object per file instead of text.
    #[arg(long)]
    pub json: bool,
    /// Also print the responses and settings that a file leaves to the defaults.
    #[arg(short, long)]
    pub verbose: bool,
    /// Replace a setting of the file: NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Treat warnings as errors.
    #[arg(long)]
    pub strict: bool,
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// A sentence for the user when there is no `=` or no name.
pub fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// Checks the files; exit code 1 when any has an error.
#[must_use]
pub fn run(arguments: &Check) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A reader that has gone away is no reason to fail differently.
    if write(arguments, colour, &mut out).unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks the files and writes the report; true when all are good.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write(arguments: &Check, colour: bool, out: &mut impl Write) -> std::io::Result<bool> {
    let mut good = true;
    for path in &arguments.files {
        good &= if path.extension().is_some_and(|extension| extension == "toml") {
            write_configuration(arguments, path, colour, out)?
        } else {
            write_agent(arguments, path, &arguments.settings, None, colour, out)?
        };
    }
    Ok(good)
}

/// Checks a configuration and the agents it names; `--set` does not reach them, the configuration does.
fn write_configuration(arguments: &Check, path: &Path, colour: bool, out: &mut impl Write) -> std::io::Result<bool> {
    let name = path.display().to_string();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            if arguments.json {
                let diagnostics: Vec<_> = errors
                    .0
                    .iter()
                    .map(|e| serde_json::json!({"line": e.line, "column": e.column, "message": e.message}))
                    .collect();
                let (ok, count) = (false, diagnostics.len());
                let line = serde_json::json!({"file": name, "ok": ok, "errors": count, "diagnostics": diagnostics});
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{errors}")?;
            }
            return Ok(false);
        }
    };
    if arguments.json {
        writeln!(out, "{}", serde_json::json!({"file": name, "ok": true, "errors": 0, "diagnostics": []}))?;
    } else {
        let (extensions, trunks) = (config.extensions.len(), config.trunks.len());
        writeln!(out, "{name}: the configuration is good: {extensions} × [[extension]], {trunks} × [[trunk]]")?;
    }
    let mut good = true;
    for shown in config.server.sip_listen.iter().filter_map(|listen| listen.tls.as_ref()) {
        if let Err(error) = crate::net::tls::describe_certificate(&shown.identity.certificate_file) {
            good = false;
            writeln!(out, "{name}: [server.tls]: {error}")?;
        }
    }
    for danger in config.dangers() {
        if !arguments.json {
            writeln!(out, "{name}: warning: {danger}")?;
        }
        good &= !arguments.strict;
    }
    let registry = match engines::registry(&config.providers, Local::default()) {
        Ok(registry) => registry,
        Err(error) => {
            writeln!(out, "{name}: {error}")?;
            return Ok(false);
        }
    };
    for entry in config.agents.values() {
        let settings: Vec<_> = entry.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        good &= write_agent(arguments, &entry.file, &settings, Some((&config.ways_out(), &registry)), colour, out)?;
    }
    Ok(good)
}

fn write_agent(
    arguments: &Check,
    path: &Path,
    settings: &[(String, String)],
    house: Option<(&[&str], &Registry)>,
    colour: bool,
    out: &mut impl Write,
) -> std::io::Result<bool> {
    let name = path.display().to_string();
    let checked = match std::fs::read_to_string(path) {
        Ok(source) => {
            let mut checked = agent::check(&name, &source, settings);
            if let (Some(agent), Some((ways, registry))) = (&checked.agent, house) {
                checked.report.diagnostics.extend(lost_ways(agent, &source, ways));
                checked.report.diagnostics.extend(speech_check::diagnostics(agent, &source, registry));
            }
            checked
        }
        Err(error) => unreadable(&name, &error),
    };
    let report = &checked.report;
    let (errors, warnings) = (report.errors().count(), report.warnings().count());
    let good = errors == 0 && !(arguments.strict && warnings > 0);
    if arguments.json {
        let line = serde_json::json!({
            "file": name,
            "ok": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "diagnostics": report.diagnostics,
            "defaults": report.defaults,
        });
        writeln!(out, "{line}")?;
        return Ok(good);
    }
    write!(out, "{}", report.render(colour))?;
    if arguments.verbose && !report.defaults.is_empty() {
        writeln!(out, "{name}: left to the defaults:")?;
        for default in &report.defaults {
            writeln!(out, "   {default}")?;
        }
    }
    writeln!(out, "{}", summary(&name, &checked, errors, warnings))?;
    Ok(good)
}

/// Destinations that go through an extension or trunk which the configuration does not have.
fn lost_ways(agent: &agent::Agent, source: &str, ways: &[&str]) -> Vec<Diagnostic> {
    let lost = agent.destinations.iter().filter_map(|destination| {
        let through = destination.through.as_deref().filter(|name| !ways.contains(name))?;
        let place = source.lines().enumerate().find_map(|(line, text)| {
            let at = text.find("through")?;
            let column = at + text.get(at..)?.find(through)?;
            Some(Position { line: line + 1, column: text.get(..column)?.chars().count() + 1 })
        });
        let known = ways.iter().map(|way| format!("`{way}`")).collect::<Vec<_>>().join(", ");
        let help = match nearest(through, ways.iter().copied()) {
            Some(near) => format!("write `{near}`"),
            None if known.is_empty() => {
                "the configuration has no [[extension]] and no [[trunk]] with gateways".to_owned()
            }
            None => format!("write one of {known}"),
        };
        Some(Diagnostic {
            severity: Severity::Error,
            at: place.unwrap_or(Position { line: 1, column: 1 }),
            width: through.chars().count(),
            message: format!("destination `{}` goes through `{through}`, which is no way out", destination.id),
            help: Some(help),
        })
    });
    lost.collect()
}

fn unreadable(name: &str, error: &std::io::Error) -> Checked {
    let mut report = agent::Report { path: name.to_owned(), ..agent::Report::default() };
    report.diagnostics.push(Diagnostic {
        severity: Severity::Error,
        at: Position { line: 1, column: 1 },
        width: 1,
        message: format!("cannot be read: {error}"),
        help: None,
    });
    Checked { agent: None, report }
}

fn summary(name: &str, checked: &Checked, errors: usize, warnings: usize) -> String {
    let count = |number: usize, noun: &str| {
        if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
    };
    match checked.agent.as_ref().filter(|_| errors == 0) {
        Some(agent::Agent { id, bridge: Some(bridge), .. }) => {
            let protocol = bridge.protocol.name();
            format!(
                "{name}: agent `{id}` is good: a bot outside that speaks {protocol}, {}",
                count(warnings, "warning")
            )
        }
        Some(agent) => format!(
            "{name}: agent `{}` is good: {}, {}, {}, {}",
            agent.id,
            count(agent.nodes.len(), "node"),
            count(agent.intents.len(), "intent"),
            count(agent.tools.len(), "tool"),
            count(warnings, "warning"),
        ),
        None => format!("{name}: {}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}
