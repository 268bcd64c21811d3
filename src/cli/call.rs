//! `offhook call`: places a call and lets an agent talk.

use super::fail;
use super::plan::{self, Plan};
use super::report::Report;
use super::server::Server;
use super::terminal::{Ink, Style};
use crate::call::{Dial, EventStream, PeerTerms, Route};
use crate::sip::event::{Party, RegistrationState};
use crate::sip::{OutgoingInvite, Uri};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the extension to be registered before the call is placed.
const REGISTRATION_WAIT: Duration = Duration::from_secs(10);

/// Place a call and let an agent talk.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook call 600 -c offhook.toml                       a number of the PBX, through the configured extension\n  offhook call sip:anna@192.0.2.7 -c offhook.toml --agent clinic"
)]
pub(super) struct Call {
    /// A number on the extension's PBX, or a SIP address.
    #[arg(value_name = "URI")]
    target: String,
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// The agent that talks [default: the extension's].
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The extension to call through [default: the first].
    #[arg(long, value_name = "NAME")]
    extension: Option<String>,
    /// Directory of the offline models.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Hang up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u64,
    /// One JSON object per event on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(call: Call) -> ExitCode {
    match place(&call).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

async fn place(call: &Call) -> Result<(), String> {
    let Plan { server, agents, .. } =
        plan::read(&call.config, call.models.clone(), |step| tracing::info!("{step}")).await?;
    let server = Server::start(server, &agents, EventStream::default()).await.map_err(|e| e.to_string())?;
    let through = server.extension(call.extension.as_deref()).cloned();
    if let (None, Some(name)) = (&through, &call.extension) {
        return Err(format!("{} has no [[extension]] named {name}", call.config.display()));
    }
    let (target, remote, base) = match &through {
        Some(extension) => {
            registered(&server, &extension.name).await?;
            let base = extension.gateway.domain.clone();
            let destination = &extension.registration.destination;
            let targets = server.sip.locate(destination).await.map_err(|e| e.to_string())?;
            let registrar = targets.first().ok_or("the registrar has no address")?.remote;
            let target = if is_address(&call.target) { parse(&call.target)? } else { base.with_user(&call.target) };
            (target, registrar, base)
        }
        None => {
            let target = parse(&call.target)?;
            let remote = resolve(&target).await?;
            (target, remote, Uri::sip_address(remote))
        }
    };
    let agent = call
        .agent
        .clone()
        .or_else(|| through.as_ref().map(|e| e.agent.clone()))
        .ok_or("which agent should talk? Give --agent NAME")?;
    let program =
        agents.get(&agent).cloned().ok_or_else(|| format!("{} declares no agent {agent}", call.config.display()))?;
    let own = match &through {
        Some(extension) => base.with_user(&extension.gateway.user),
        None => Uri::sip_address(server.sip.local_addr()).with_user("offhook"),
    };
    let credentials = through.as_ref().and_then(|e| e.gateway.account.clone());
    let (peer, terms) = through.map_or_else(|| ("direct".to_owned(), PeerTerms::default()), |e| (e.name, e.terms));
    let mut events = server.events.subscribe();
    let dial = Dial {
        route: Route { peer, agent, program, terms },
        local_ip: server.media_ip_towards(remote),
        transfer_base: base,
        prepare: Box::new(move |offer| {
            let mut invite = OutgoingInvite::new(target, remote, Party { display: None, uri: own }, offer);
            invite.account = credentials;
            invite
        }),
    };
    let style = if call.json { Style::plain() } else { Style::stdout() };
    let mut report = Report::new(style);
    let supervisor = Arc::clone(&server.supervisor);
    let work = supervisor.dial(dial);
    tokio::pin!(work);
    let limit = tokio::time::sleep(Duration::from_secs(call.seconds));
    tokio::pin!(limit);
    let outcome = loop {
        tokio::select! {
            biased;
            event = events.recv() => if let Ok(event) = event {
                report.show(&event, call.json);
            },
            result = &mut work => break result.map_err(|e| e.to_string()),
            () = &mut limit => break Ok(()),
            _ = tokio::signal::ctrl_c() => break Ok(()),
        }
    };
    while let Ok(event) = events.try_recv() {
        report.show(&event, call.json);
    }
    if !call.json && !report.records().is_empty() {
        println!("\n{}\n{}", style.paint(Ink::Strong, "Latency"), report.summary());
    }
    server.stop().await;
    outcome
}

async fn registered(server: &Server, extension: &str) -> Result<(), String> {
    let wait = async {
        loop {
            let changed = server.supervisor.change();
            match server.supervisor.registration_states().get(extension) {
                Some(RegistrationState::Registered { .. }) => return Ok(()),
                Some(RegistrationState::Failed { reason, .. }) => {
                    return Err(format!("extension {extension} is not registered: {reason}"));
                }
                _ => changed.await,
            }
        }
    };
    tokio::time::timeout(REGISTRATION_WAIT, wait).await.map_err(|_| {
        format!("extension {extension}: the registrar did not answer within {} s", REGISTRATION_WAIT.as_secs())
    })?
}

fn is_address(target: &str) -> bool {
    target.contains('@') || target.starts_with("sip:") || target.starts_with("sips:")
}

fn parse(target: &str) -> Result<Uri, String> {
    let text = if target.starts_with("sip:") { target.to_owned() } else { format!("sip:{target}") };
    Uri::parse(text)
        .map_err(|e| format!("{target} is no SIP address ({e}); write sip:user@host or a number of the PBX"))
}

async fn resolve(target: &Uri) -> Result<SocketAddr, String> {
    let view = target.view();
    let port = view.port().unwrap_or(5060);
    let host = view.host().ok_or_else(|| format!("{target} names no host"))?;
    if let Some(ip) = host.address() {
        return Ok(SocketAddr::new(ip, port));
    }
    let name = host.to_string();
    let mut found =
        tokio::net::lookup_host((name.as_str(), port)).await.map_err(|e| format!("{name} has no address: {e}"))?;
    found.next().ok_or_else(|| format!("{name} has no address"))
}
