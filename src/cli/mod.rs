//! The command line: one file per subcommand.

pub mod booking;
mod call;
pub mod check;
mod connect;
mod control;
mod demo;
mod doctor;
mod engines;
pub mod load;
pub mod models;
pub mod plan;
mod probe;
mod profiles;
mod providers;
mod report;
mod serve;
pub mod server;
mod speech_check;
mod status;
pub mod terminal;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Puts a voice AI agent on a phone line.
#[derive(Parser)]
#[command(name = "offhook", version, about, long_about = None, after_help = "Start with `offhook demo`: it needs no keys and no PBX.")]
struct Cli {
    /// Log level: error, warn, info, debug, trace, or a filter such as `offhook::call=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "OFFHOOK_LOG")]
    log: Option<String>,
    /// Write the log as JSON lines.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hold a phone call with the example agent, offline: real SIP and RTP on this machine.
    Demo(demo::Demo),
    /// Run the server.
    Serve(serve::Serve),
    /// Check agent files and configuration; says file, line, column and the fix.
    Check(check::Check),
    /// Place a call and let an agent talk.
    Call(call::Call),
    /// Connect a PBX or trunk: asks five questions, writes the section, and tries it at once.
    Connect(connect::Connect),
    /// Find out what is wrong with the way to every PBX, trunk and provider, and say the fix.
    Doctor(doctor::Doctor),
    /// Place many calls with real SIP and RTP, and measure setup, loss, round trips and turns.
    Load(load::Args),
    /// Show registrations, trunks and calls of the running server.
    Status(status::Status),
    /// List the profiles of PBXs and carriers, or show one.
    Profiles(profiles::Profiles),
    /// List vendors of speech and language models: what is configured, what each can do, whether it answers.
    Providers(providers::Providers),
    /// Fetch, verify or list the offline models.
    Models(models::Args),
    /// The small appointment service of the clinic example.
    BookingService(booking::BookingServiceArgs),
}

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    crate::media::sys::share_heaps();
    let default = match cli.command {
        Command::Serve(_) => "info",
        // Its one warning, that the agent may reach the booking service on this machine, is meant so.
        // Connect and doctor say themselves, and with the fix, what goes wrong.
        Command::Demo(_) | Command::Connect(_) | Command::Doctor(_) => "error",
        _ => "warn",
    };
    start_log(cli.log.as_deref(), default, cli.log_json);
    match cli.command {
        Command::Check(check) => check::run(&check),
        Command::Models(models) => models::run(&models),
        Command::BookingService(service) => block_on(async {
            booking::run(service).await.map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
        }),
        Command::Call(call) => block_on(call::run(call)),
        Command::Connect(connect) => block_on(connect::run(connect)),
        Command::Doctor(doctor) => block_on(doctor::run(doctor)),
        Command::Load(load) => block_on(load::run(load)),
        Command::Profiles(profiles) => profiles::run(&profiles),
        Command::Providers(providers) => block_on(providers::run(providers)),
        Command::Status(status) => block_on(status::run(status)),
        Command::Demo(demo) => block_on(demo::run(demo)),
        Command::Serve(serve) => block_on(serve::run(serve)),
    }
}

fn start_log(filter: Option<&str>, default: &str, json: bool) {
    let filter =
        EnvFilter::builder().with_default_directive(tracing::Level::WARN.into()).parse_lossy(filter.unwrap_or(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            code
        }
        Err(error) => fail(&format!("this system refuses to start threads: {error}")),
    }
}

/// Prints an error and its fix, and gives the exit code of a failure.
fn fail(message: &str) -> ExitCode {
    let style = terminal::Style::stdout();
    eprintln!("{} {message}", style.paint(terminal::Ink::Bad, "error:"));
    ExitCode::FAILURE
}
