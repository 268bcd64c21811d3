//! `offhook providers`: which vendors of speech and language models are configured, what they can do, how they are.

mod catalogue;
pub(super) mod probe;
mod row;

use super::terminal::{Ink, Style, table};
use super::{engines, fail, speech_check};
use crate::agent::Agent;
use crate::agent::speech::LOCAL;
use crate::config::{Config, Providers as Configured};
use crate::providers::listing::{KeyState, vendors};
use crate::providers::reach::reach;
use crate::providers::registry::{Local, Probed};
use crate::providers::{Network, ProviderError, StageKind};
use clap::Args;
use probe::Outcome;
use row::Row;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "offhook.toml";

/// List the vendors of speech and language models: what is configured, what each can do, whether it answers.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook providers -c offhook.toml\n  offhook providers --probe --json\n  offhook providers --all\n\n--probe says one word to every provider in use, which costs a fraction of a cent each. Keys are never shown.\nExit code 1: a probe or a list of voices failed, or a provider in use cannot be set up."
)]
pub(super) struct Providers {
    /// The configuration [default: offhook.toml, where there is one].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Everything the catalogue knows, configured or not.
    #[arg(long)]
    all: bool,
    /// Ask each provider in use for one word, and measure.
    #[arg(long)]
    probe: bool,
    /// The voices of each provider in use, where its API lists them.
    #[arg(long)]
    voices: bool,
    /// One JSON object per provider and stage.
    #[arg(long)]
    json: bool,
    /// The catalogue as the tables of docs/providers.md.
    #[arg(long, conflicts_with_all = ["config", "all", "probe", "voices", "json"])]
    markdown: bool,
}

pub(super) async fn run(providers: Providers) -> ExitCode {
    if providers.markdown {
        return match catalogue::markdown() {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(message) => fail(&message),
        };
    }
    match show(&providers).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => fail(&message),
    }
}

/// One name at one stage to be shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    pub stage: StageKind,
    pub name: String,
}

/// What a configuration uses: every stage table of its accounts, and every provider that an agent names.
///
/// # Errors
/// An agent file that is wrong.
pub(super) fn in_use(config: &Config) -> Result<BTreeSet<Entry>, String> {
    let mut used = BTreeSet::new();
    for spec in &config.providers.accounts {
        used.extend(spec.stages.keys().map(|stage| Entry { stage: *stage, name: spec.name.clone() }));
    }
    for entry in config.agents.values() {
        let settings: Vec<(String, String)> = entry.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let agent = Agent::load(&entry.file, &settings).map_err(|e| e.to_string())?;
        for (stage, name) in agent.speech.named() {
            let stage = speech_check::stage_named(stage);
            used.extend(stage.map(|stage| Entry { stage, name: name.to_owned() }));
        }
    }
    Ok(used)
}

async fn show(arguments: &Providers) -> Result<bool, String> {
    let config = match &arguments.config {
        Some(path) => Some(path.clone()),
        None => Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| Path::exists(path)),
    };
    let config = config.map(|path| Config::load(&path).map_err(|e| e.to_string())).transpose()?;
    if config.is_none() && !arguments.all {
        return Err(format!("there is no {DEFAULT_CONFIG} here: give one with -c, or see the catalogue with --all"));
    }
    let none = Configured::default();
    let registry = engines::registry(config.as_ref().map_or(&none, |config| &config.providers), Local::default())?;
    let used = config.as_ref().map(in_use).transpose()?.unwrap_or_default();
    let mut entries = used.clone();
    // An account that no agent uses yet is shown with everything it could do.
    for spec in registry.specs().filter(|spec| arguments.all || !used.iter().any(|entry| entry.name == spec.name)) {
        entries.extend(StageKind::ALL.into_iter().map(|stage| Entry { stage, name: spec.name.clone() }));
    }
    if arguments.all {
        for stage in StageKind::ALL {
            entries.extend(vendors(stage).into_iter().map(|vendor| Entry { stage, name: vendor.to_owned() }));
        }
    }
    let style = if arguments.json { Style::plain() } else { Style::stdout() };
    let mut rows = Vec::new();
    let mut is_good = true;
    for entry in entries {
        let is_used = used.contains(&entry);
        let Some(listing) = registry.listing(entry.stage, &entry.name) else {
            if is_used {
                is_good = false;
                let words = entry.stage.name().replace('_', " ");
                eprintln!("{}: no provider of {words}; `offhook check` shows where it is named", entry.name);
            }
            continue;
        };
        let made = if entry.name == LOCAL { None } else { Some(registry.probe(entry.stage, &entry.name)) };
        let mut row = Row::new(listing, is_used, made.as_ref());
        is_good &= !(is_used && row.problem.is_some());
        let wanted = is_used || used.is_empty() && !matches!(row.listing.key, KeyState::Missing(_));
        if let Some(Ok(made)) = &made
            && wanted
        {
            ask(arguments, style, &mut row, made, registry.network()).await;
            is_good &= !row.has_failed();
        }
        if arguments.json {
            println!("{}", row.to_json());
        }
        rows.push(row);
    }
    if !arguments.json {
        print_rows(&rows, style);
    }
    drop(registry);
    probe::goodbyes().await;
    Ok(is_good)
}

/// Probes, and asks for voices, as far as that is wanted.
async fn ask(arguments: &Providers, style: Style, row: &mut Row, made: &Probed, network: &Network) {
    if arguments.probe {
        let (stage, name) = (row.listing.stage.name().replace('_', " "), row.listing.name.clone());
        if !arguments.json {
            eprintln!("{}", style.paint(Ink::Faint, &format!("asking {name} for {stage} …")));
        }
        let reached = reach(network, &row.listing.url).await;
        // Who cannot be reached is not asked: it would say the same once more, and later.
        if reached.is_ok() {
            row.outcome = Some(probe::once(made).await);
        }
        row.reach = Some(reached);
    }
    if arguments.voices
        && let Probed::Tts(member) = made
        && let Some(voices) = member.provider.voices()
    {
        row.voices = Some(probe::in_time(voices).await);
    }
}

fn print_rows(rows: &[Row], style: Style) {
    for stage in StageKind::ALL {
        let of_stage: Vec<&Row> = rows.iter().filter(|row| row.listing.stage == stage).collect();
        if of_stage.is_empty() {
            continue;
        }
        println!("\n{}", style.paint(Ink::Strong, &stage.name().replace('_', " ")));
        let mut head = vec!["name", "vendor", "model", "voice", "key", "in use", "can"];
        let is_probed = of_stage.iter().any(|row| row.reach.is_some());
        if is_probed {
            head.extend(["connect", "first", "all", "costs"]);
        }
        let cells: Vec<Vec<String>> = of_stage.iter().map(|row| row.cells(is_probed)).collect();
        println!("{}", table(&head, &cells));
        for row in &of_stage {
            for (ink, note) in row.notes() {
                println!("  {}", style.paint(ink, &note));
            }
        }
    }
}

/// An outcome in JSON.
fn outcome_json(outcome: &Result<Outcome, ProviderError>) -> serde_json::Value {
    let ms = |duration: std::time::Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
    match outcome {
        Ok(outcome) => {
            json!({ "ok": true, "first_ms": ms(outcome.first), "all_ms": ms(outcome.whole), "costs": outcome.costs })
        }
        Err(error) => {
            json!({ "ok": false, "kind": error.kind(), "reason": error.to_string(), "fix": probe::fix(error) })
        }
    }
}
