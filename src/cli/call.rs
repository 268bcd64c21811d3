//! `offhook call`: places a call and lets an agent talk.

use super::plan::{self, Plan};
use super::report::Report;
use super::server::Server;
use super::terminal::{Ink, Style};
use super::{fail, probe};
use crate::call::dial_policy::Callee;
use crate::call::outbound::RING_FOR;
use crate::call::{Approved, Dial, EventStream, Gateway, PeerTerms, Program, Route};
use crate::net::Destination;
use crate::sip::Transport;
use crate::sip::event::RegistrationState;
use clap::Args;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Place a call and let an agent talk.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook call 600 -c offhook.toml                       a number of the PBX, through the configured extension\n  offhook call +15550134 --through carrier --agent clinic    a number of the telephone network, through a trunk\n  offhook call sip:anna@192.0.2.7 --agent clinic             an address, directly"
)]
pub(super) struct Call {
    /// A number on the extension's PBX or the trunk's network, or a SIP address.
    #[arg(value_name = "URI")]
    target: String,
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// The agent that talks [default: the extension's or trunk's].
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The extension or trunk to call through [default: the first extension; an address without one is called directly].
    #[arg(long, visible_alias = "extension", value_name = "NAME")]
    through: Option<String>,
    /// How long to let it ring, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = RING_FOR.as_secs())]
    ring: u64,
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
    let outcome = dial(call, &server, &agents).await;
    server.stop().await;
    outcome
}

/// Holds the call.
async fn dial(call: &Call, server: &Server, agents: &HashMap<String, Program>) -> Result<(), String> {
    let to = Approved::by_operator(&call.target)?;
    let (gateway, default_agent) = way_out(server, call, &to).await?;
    let agent = call.agent.clone().or(default_agent).ok_or("which agent should talk? Give --agent NAME")?;
    let program =
        agents.get(&agent).cloned().ok_or_else(|| format!("{} declares no agent {agent}", call.config.display()))?;
    let mut events = server.events.subscribe();
    let dial = Dial {
        route: Route { peer: gateway.peer.clone(), agent, program, terms: gateway.terms.clone() },
        gateway,
        to,
        identity: None,
        headers: Vec::new(),
        ring_for: Duration::from_secs(call.ring),
    };
    let style = if call.json { Style::plain() } else { Style::stdout() };
    let mut report = Report::new(style);
    let supervisor = Arc::clone(&server.supervisor);
    // Whoever stops waiting for the call hangs it up.
    let outcome = {
        let work = supervisor.dial(dial);
        tokio::pin!(work);
        let limit = tokio::time::sleep(Duration::from_secs(call.seconds));
        tokio::pin!(limit);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => if let Ok(event) = event {
                    report.show(&event, call.json);
                },
                result = &mut work => break result.map_err(|e| e.to_string()),
                () = &mut limit => break Ok(()),
                _ = tokio::signal::ctrl_c() => break Ok(()),
            }
        }
    };
    while let Ok(event) = events.try_recv() {
        report.show(&event, call.json);
    }
    if !call.json && !report.records().is_empty() {
        println!("\n{}\n{}", style.paint(Ink::Strong, "Latency"), report.summary());
    }
    outcome
}

/// The gateway that the call goes through, and the agent that its calls have.
async fn way_out(server: &Server, call: &Call, to: &Approved) -> Result<(Arc<Gateway>, Option<String>), String> {
    if let Some(extension) = server.extension(call.through.as_deref()) {
        registered(server, &extension.name).await?;
        return Ok((Arc::new(extension.gateway.clone()), Some(extension.agent.clone())));
    }
    if let Some(name) = &call.through {
        let gateway = server.supervisor.gateway(name).cloned().ok_or_else(|| {
            format!("{} has no [[extension]] and no [[trunk]] with `gateways` named {name}", call.config.display())
        })?;
        return Ok((gateway, server.supervisor.trunk_agent(name).map(str::to_owned)));
    }
    let Callee::Address(uri) = to.callee() else {
        return Err(format!("{} is a number: give the extension or trunk that calls it, --through NAME", call.target));
    };
    let destination = Destination::from_uri(&uri.view(), None).ok_or_else(|| format!("{uri} names no host"))?;
    let targets = server.sip.locate(&destination).await.map_err(|e| e.to_string())?;
    let target = *targets.first().ok_or_else(|| format!("{uri} leads nowhere"))?;
    let ours =
        server.sip.run(move |endpoint, _| endpoint.advertised_towards(target)).await.map_err(|e| e.to_string())?;
    let ours = ours.ok_or_else(|| format!("there is no socket for {}: see sip_listen", target.transport.via_name()))?;
    Ok((Arc::new(Gateway::back_to("direct", Transport::Udp, ours, "offhook", PeerTerms::default())), None))
}

async fn registered(server: &Server, extension: &str) -> Result<(), String> {
    match probe::registration(server, extension).await {
        Some(RegistrationState::Failed { reason, .. }) => {
            Err(format!("extension {extension} is not registered: {reason}"))
        }
        Some(_) => Ok(()),
        None => {
            let waited = probe::REGISTRATION_WAIT.as_secs();
            Err(format!("extension {extension}: the registrar did not answer within {waited} s"))
        }
    }
}
