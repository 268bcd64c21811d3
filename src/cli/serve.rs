//! `offhook serve`: the server.

use super::fail;
use super::plan::{self, Plan};
use super::server::Server;
use crate::call::EventStream;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
        Ok((server, drain)) => wait(server, drain, serve.json).await,
        Err(message) => fail(&message),
    }
}

async fn start(serve: &Serve) -> Result<(Server, Duration), String> {
    let Plan { server, agents, drain } =
        plan::read(&serve.config, serve.models.clone(), |step| tracing::info!("{step}")).await?;
    let server = Server::start(server, &agents, EventStream::default()).await.map_err(|e| e.to_string())?;
    Ok((server, drain))
}

async fn wait(server: Server, drain: Duration, json: bool) -> ExitCode {
    tracing::info!(address = %server.sip.local_addr(), workers = ?server.supervisor.workers().stats().priority, "listening");
    eprintln!("offhook: listening for SIP on {} (UDP)", server.sip.local_addr());
    let mut events = server.events.subscribe();
    let printer = tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            if json {
                println!("{}", event.to_exposed_json());
            }
        }
    });
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return fail("this system refuses signal handlers");
    };
    either(&mut terminate, &mut interrupt).await;
    server.drain();
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
    printer.abort();
    ExitCode::SUCCESS
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
