//! The catalogue as Markdown, so that the documentation says what the program does.

use super::row::capabilities;
use crate::base::Pii;
use crate::providers::listing::{KeyState, vendors};
use crate::providers::registry::{Local, ProviderSpec, Registry, StageSpec};
use crate::providers::{Network, StageKind};
use std::fmt::Write as _;

/// The tables, one per stage. Opens no connection.
///
/// # Errors
/// One sentence: the way out cannot be set up.
pub(super) fn markdown() -> Result<String, String> {
    let network = Network::new(&[]).map_err(|e| e.to_string())?;
    let mut out = String::new();
    for stage in StageKind::ALL {
        let _ = writeln!(out, "## {}\n", stage.name().replace('_', " "));
        let _ =
            writeln!(out, "| `vendor` | what | model | voice | key | can | withdrawn |\n|---|---|---|---|---|---|---|");
        for vendor in vendors(stage) {
            let of_vendor = ProviderSpec { key: Some(Pii::new("a key".to_owned())), ..ProviderSpec::of_vendor(vendor) };
            let bare = Registry::new(Vec::new(), network.clone(), Box::new(|_| None), Local::default());
            let Some(listing) = bare.listing(stage, vendor) else { continue };
            // What needs a server, a model or a voice of one's own says what it can do with any.
            let any = |known: &str, word: &str| known.is_empty().then(|| word.to_owned());
            let own = StageSpec {
                url: any(&listing.url, "https://server.example"),
                model: any(&listing.model, "model"),
                voice: any(&listing.voice, "voice"),
                ..StageSpec::default()
            };
            let spec = ProviderSpec { stages: [(stage, own)].into(), ..of_vendor };
            let registry = Registry::new(vec![spec], network.clone(), Box::new(|_| None), Local::default());
            let can = match registry.probe(stage, vendor) {
                Ok(made) => capabilities(&made).join(", "),
                Err(_) => "recordings only, no calls".to_owned(),
            };
            let code = |text: &str| if text.is_empty() { "–".to_owned() } else { format!("`{text}`") };
            let key = match listing.key {
                KeyState::Missing(variable) => code(variable),
                _ => "–".to_owned(),
            };
            let sunset = listing.sunset.map_or_else(|| "–".to_owned(), |sunset| sunset.on.to_string());
            let (title, model, voice) = (listing.title, code(&listing.model), code(&listing.voice));
            let _ = writeln!(out, "| `{vendor}` | {title} | {model} | {voice} | {key} | {can} | {sunset} |");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    Ok(out)
}
