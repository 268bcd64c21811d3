//! The `offhook` command.

fn main() -> std::process::ExitCode {
    offhook::cli::run()
}
