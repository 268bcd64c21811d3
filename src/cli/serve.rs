//! `offhook serve`: the server.

use super::plan::{self, Plan};
use super::server::Server;
use super::{control, fail};
use crate::call::{CallEvent, EventStream};
use crate::config::Config;
use crate::providers::registry::Registry;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Run the server.
#[derive(Args)]
#[command(
    after_help = "Example:\n  offhook serve -c offhook.toml\n\nSIGTERM or Ctrl-C refuses new calls and waits for the last one; a second one stops at once."
)]
pub(super) struct Serve {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// Directory of the offline models [default: the configuration's, else see `offhook models list`].
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// One JSON object per event on standard output. Exposes what callers say.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(serve: Serve) -> ExitCode {
    match start(&serve).await {
        Ok((server, providers, drain)) => {
            let status = control::Source::of(&server, providers);
            let socket = open_control(&serve, status.clone()).await;
            let code = wait(server, drain, &status).await;
            if let Some(socket) = socket {
                let _ = std::fs::remove_file(socket);
            }
            code
        }
        Err(message) => fail(&message),
    }
}

async fn start(serve: &Serve) -> Result<(Server, Arc<Registry>, Duration), String> {
    let Plan { server, agents, providers, drain } =
        plan::read(&serve.config, serve.models.clone(), |step| tracing::info!("{step}")).await?;
    let events = EventStream::default();
    if serve.json {
        // Before the first registration is made: its events belong to the stream.
        tokio::spawn(print(events.subscribe()));
    }
    let server = Server::start(server, &agents, events).await.map_err(|e| e.to_string())?;
    Ok((server, providers, drain))
}

/// One JSON object per event, until the server is gone. A reader that is too slow is told what it missed.
async fn print(mut events: Receiver<CallEvent>) {
    loop {
        match events.recv().await {
            Ok(event) => println!("{}", event.to_exposed_json()),
            Err(RecvError::Lagged(count)) => println!("{}", json!({"event": "events_lost", "count": count})),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Opens the control socket; a server without one serves calls all the same.
async fn open_control(serve: &Serve, source: control::Source) -> Option<PathBuf> {
    let configured = Config::load(&serve.config).ok().and_then(|config| config.server.control_socket);
    match control::open(&control::places(&serve.config, configured.as_deref())).await {
        Ok((listener, place)) => {
            tokio::spawn(control::serve(listener, source));
            Some(place)
        }
        Err(error) => {
            tracing::warn!(reason = %error, fix = "set [server] control_socket", "no_control_socket");
            None
        }
    }
}

async fn wait(server: Server, drain: Duration, status: &control::Source) -> ExitCode {
    // Whoever reads that it listens may end it at once, in good order.
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return fail("this system refuses signal handlers");
    };
    tracing::info!(address = %server.sip.local_addr(), workers = ?server.supervisor.workers().stats().priority, "listening");
    let sockets: Vec<String> =
        server.plan.listen.iter().map(|l| format!("{} ({})", l.address, l.transport.via_name())).collect();
    eprintln!("offhook: listening for SIP on {}", sockets.join(", "));
    either(&mut terminate, &mut interrupt).await;
    server.drain();
    status.set_draining();
    let calls = server.supervisor.active_calls();
    if calls > 0 {
        eprintln!("offhook: no new calls; waiting for {calls} to end (again to stop at once)");
    }
    tokio::select! {
        () = server.supervisor.idle() => {}
        () = either(&mut terminate, &mut interrupt) => {}
        () = tokio::time::sleep(drain) => tracing::warn!(calls = server.supervisor.active_calls(), "drain_time_used_up"),
    }
    server.stop().await;
    ExitCode::SUCCESS
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
