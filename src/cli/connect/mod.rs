//! `offhook connect`: a PBX or trunk in a minute.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments on arguments are help text, whose brackets are no links")]

mod ask;
mod section;

use super::server::{Server, ServerPlan};
use super::terminal::{Ink, Style};
use super::{fail, plan, probe};
use crate::config::{BUILT_IN_AGENTS, Config, SipProfile};
use crate::sip::event::RegistrationState;
use ask::Prompt;
use clap::Args;
use section::{Answers, Password};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Connect a PBX or trunk: asks what is not given, writes the section, and tries it at once.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook connect\n  offhook connect --profile freepbx --host pbx.example.com --user 1001 --password-env PBX_PASSWORD --agent clinic.yaml\n  offhook connect --profile twilio --host acme --number +15550134 --agent echo --dry-run"
)]
pub(super) struct Connect {
    /// The make of PBX or carrier: see `offhook profiles`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Registrar, domain or gateway.
    #[arg(long)]
    host: Option<String>,
    /// Extension number or account.
    #[arg(long)]
    user: Option<String>,
    /// Authentication ID or registration name, where there is one.
    #[arg(long)]
    auth_user: Option<String>,
    /// The environment variable that holds the password.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// The file that holds the password alone.
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// Main number of a trunk.
    #[arg(long)]
    number: Option<String>,
    /// The agent that answers: a name under [agents], an agent file, or `echo`.
    #[arg(long)]
    agent: Option<String>,
    /// What the extension or trunk is called in logs and commands.
    #[arg(long)]
    name: Option<String>,
    /// Write a [[trunk]] where an [[extension]] is usual.
    #[arg(long)]
    trunk: bool,
    /// The configuration to add to; made when it does not exist.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// Show what would be written, and try nothing.
    #[arg(long)]
    dry_run: bool,
    /// The result as one JSON object; asks nothing.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(connect: Connect) -> ExitCode {
    match work(&connect).await {
        Ok(code) => code,
        Err(message) if connect.json => {
            println!("{}", json!({ "ok": false, "error": message }));
            ExitCode::FAILURE
        }
        Err(message) => fail(&message),
    }
}

async fn work(connect: &Connect) -> Result<ExitCode, String> {
    let before = match std::fs::read_to_string(&connect.config) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{}: cannot be read: {error}", connect.config.display())),
    };
    let text = before.as_deref().unwrap_or_default();
    // A file without peers is no configuration yet, but what it has must be right.
    let known = match &before {
        Some(text) if has_peers(text) => Some(Config::load(&connect.config).map_err(|e| e.to_string())?),
        _ => None,
    };
    let prompt = Prompt::new(!connect.json);
    let (answers, typed) = answers(connect, known.as_ref(), &prompt)?;
    if let Some(known) = &known
        && let Some(name) = section::duplicate(known, &answers)
    {
        return Err(format!(
            "{} has this peer already, as `{name}`: change that section, or try it with `offhook doctor`",
            connect.config.display()
        ));
    }
    let base = connect.config.parent().unwrap_or_else(|| Path::new(""));
    let (agent, agents) = agent_entry(&answers.agent, known.as_ref());
    let agents = agents.map(|(name, file)| (name, from_configuration(base, &file)));
    let answers = Answers { agent, ..answers };
    let section = section::write(&answers);
    let agents = agents.as_ref().map(|(name, file)| (name.as_str(), file.as_str()));
    let after = section::appended(text, &section, agents);
    if connect.dry_run {
        if connect.json {
            println!("{}", json!({ "ok": true, "dry_run": true, "section": section }));
        } else {
            print!("{section}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The password goes first: the section is checked with it.
    let secret = typed.map(|(path, password)| write_secret(&path, &password).map(|()| path)).transpose()?;
    let checked = Config::parse(&connect.config, &after, &|name| std::env::var(name).ok());
    let written = checked.map_err(|e| e.to_string()).and_then(|config| {
        replace(&connect.config, &after)?;
        Ok(config)
    });
    let config = match written {
        Ok(config) => config,
        Err(message) => {
            if let Some(path) = secret {
                let _ = std::fs::remove_file(path);
            }
            return Err(message);
        }
    };
    report(connect, &answers, &config).await
}

fn has_peers(text: &str) -> bool {
    text.lines().any(|line| matches!(line.trim(), "[[extension]]" | "[[trunk]]"))
}

/// The answers, and a password that was typed with the file it is to go into.
type Typed = Option<(PathBuf, String)>;

fn answers(connect: &Connect, known: Option<&Config>, prompt: &Prompt) -> Result<(Answers, Typed), String> {
    let names: Vec<&str> = SipProfile::built_in_names().collect();
    let wording = format!("PBX or carrier ({})", names.join(", "));
    let profile = prompt.given(connect.profile.as_deref(), "profile", &wording, Some("generic"))?;
    let base = connect.config.parent().unwrap_or_else(|| Path::new(""));
    let profile = SipProfile::load(&profile, base).map_err(|error| match error {
        Some(errors) => errors.to_string(),
        None => format!("there is no profile `{profile}`: {}", SipProfile::unknown_name_fix(&profile)),
    })?;
    let is_trunk = connect.trunk || section::is_trunk(&profile);
    let questions = &profile.questions;
    let host_wording = questions.host.as_deref().unwrap_or("Host");
    let host = prompt.given(connect.host.as_deref(), "host", host_wording, None)?;
    let user = if is_trunk {
        prompt.optional(connect.user.as_deref(), questions.user.as_deref())?
    } else {
        Some(prompt.given(connect.user.as_deref(), "user", questions.user.as_deref().unwrap_or("Extension"), None)?)
    };
    let auth_user = if profile.auth_user_required && user.is_some() {
        let wording = questions.auth_user.as_deref().unwrap_or("Authentication ID");
        Some(prompt.given(connect.auth_user.as_deref(), "auth-user", wording, None)?)
    } else {
        prompt.optional(connect.auth_user.as_deref(), questions.auth_user.as_deref().filter(|_| user.is_some()))?
    };
    let taken: Vec<&str> = known.iter().flat_map(|config| names_in(config)).collect();
    let name = match &connect.name {
        Some(name) => name.clone(),
        None => section::free_name(&profile, user.as_deref(), is_trunk, &taken),
    };
    let (password, typed) = match (&connect.password_env, &connect.password_file) {
        (Some(variable), _) => (Some(Password::Variable(variable.clone())), None),
        (None, Some(file)) => (Some(Password::File(from_configuration(base, file))), None),
        (None, None) if user.is_none() => (None, None),
        (None, None) => {
            let wording = questions.password.as_deref().unwrap_or("Password");
            let secret = prompt.secret("password-env or --password-file", wording)?;
            let file = format!("{name}.password");
            (Some(Password::File(file.clone())), Some((base.join(file), secret)))
        }
    };
    let number = if is_trunk { prompt.optional(connect.number.as_deref(), questions.number.as_deref())? } else { None };
    let first = known.and_then(|config| config.agents.keys().next()).map_or("echo", String::as_str);
    let agent =
        prompt.given(connect.agent.as_deref(), "agent", "Agent that answers (a name, a file, or echo)", Some(first))?;
    Ok((Answers { profile, is_trunk, name, host, user, auth_user, password, number, agent }, typed))
}

fn names_in(config: &Config) -> impl Iterator<Item = &str> {
    let extensions = config.extensions.iter().map(|extension| extension.name.as_str());
    extensions.chain(config.trunks.iter().map(|trunk| trunk.name.as_str()))
}

/// The agent's name, and the entry under `[agents]` that it needs when it is a file nobody has named.
fn agent_entry(agent: &str, known: Option<&Config>) -> (String, Option<(String, String)>) {
    let is_file = Path::new(agent).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !is_file || BUILT_IN_AGENTS.contains(&agent) {
        return (agent.to_owned(), None);
    }
    let stem = Path::new(agent).file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let has_it = known.is_some_and(|config| config.agents.contains_key(&name));
    (name.clone(), (!has_it).then(|| (name, agent.to_owned())))
}

/// A path as the configuration has to name it: relative ones count from its own folder, not from where the command runs.
fn from_configuration(base: &Path, path: &str) -> String {
    if Path::new(path).is_absolute() || base.join(path).exists() {
        return path.to_owned();
    }
    std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |whole| whole.to_string_lossy().into_owned())
}

fn write_secret(path: &Path, secret: &str) -> Result<(), String> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = open.and_then(|mut file| writeln!(file, "{secret}"));
    written.map_err(|error| format!("the password file {}: {error}", path.display()))
}

/// Replaces a file whole, so that nobody ever reads half of it; a new one is for this user alone.
fn replace(path: &Path, text: &str) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: cannot be written: {error}", path.display());
    let permissions = std::fs::metadata(path).ok().map(|metadata| metadata.permissions());
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
    let done = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| permissions.map_or(Ok(()), |permissions| std::fs::set_permissions(&beside, permissions)))
        .and_then(|()| std::fs::rename(&beside, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done.map_err(fail)
}

async fn report(connect: &Connect, answers: &Answers, config: &Config) -> Result<ExitCode, String> {
    let mut whole = plan::server_plan(config)?;
    whole.extensions.retain(|extension| extension.name == answers.name);
    whole.trunks.retain(|trunk| trunk.name() == answers.name);
    let (server, on_other_port) = probe::start(whole).await.map_err(|e| e.to_string())?;
    // A call that comes during the trial is not for us.
    server.drain();
    let plan = server.plan.clone();
    let outcome = attempt(&server, &plan, &answers.name).await;
    server.stop().await;
    let (ok, says) = match &outcome {
        Ok(says) => (true, says.clone()),
        Err(says) => (false, says.clone()),
    };
    let file = connect.config.display().to_string();
    if connect.json {
        let notes = &answers.profile.notes;
        println!("{}", json!({ "ok": ok, "name": answers.name, "file": file, "result": says, "notes": notes }));
    } else {
        let style = Style::stdout();
        println!("{file} has `{}` now.", answers.name);
        let mark = if ok { style.paint(Ink::Good, "ok") } else { style.paint(Ink::Bad, "failed") };
        println!("{mark}: {says}");
        if !ok {
            println!("Check on the other side:");
            for note in &answers.profile.notes {
                println!("  - {note}");
            }
            println!("Then look again with `offhook doctor -c {file}`.");
        } else if on_other_port {
            println!("A server is running: restart it to take the new section in.");
        } else {
            println!("Start with `offhook serve -c {file}`.");
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Registers, or asks the gateway by OPTIONS.
async fn attempt(server: &Server, plan: &ServerPlan, name: &str) -> Result<String, String> {
    let trunk = plan.trunks.iter().find(|trunk| trunk.name() == name);
    if trunk.is_none_or(|trunk| trunk.registration.is_some()) {
        return match probe::registration(server, name).await {
            Some(RegistrationState::Registered { expires_at, contact }) => {
                let seconds = expires_at.saturating_duration_since(std::time::Instant::now()).as_secs();
                Ok(format!("registered for {seconds} s, reachable at {contact}"))
            }
            Some(RegistrationState::Failed { reason, .. }) => Err(reason),
            _ => Err(format!(
                "no answer within {} s: check the host, and that no firewall drops what goes there",
                probe::REGISTRATION_WAIT.as_secs()
            )),
        };
    }
    let gateway = trunk.and_then(|trunk| trunk.gateway.as_ref()).ok_or("there is no gateway")?;
    let reply = tokio::time::timeout(probe::REGISTRATION_WAIT, server.ask(gateway)).await;
    let reply =
        reply.map_err(|_| "the gateway does not answer: check the host, and firewalls between".to_owned())??;
    let (status, milliseconds) = (reply.status, reply.took.as_millis());
    match status {
        // Some peers know no OPTIONS, or want credentials for it: they are there all the same.
        200..=299 | 401 | 404 | 405 | 407 | 480 | 481 | 501 => {
            Ok(format!("the gateway answers OPTIONS with {status} after {milliseconds} ms"))
        }
        403 => {
            Err("the gateway answers 403: it does not know this machine's address; allow it on the other side"
                .to_owned())
        }
        _ => Err(format!("the gateway answers OPTIONS with {status}")),
    }
}
