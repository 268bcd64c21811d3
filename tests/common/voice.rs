//! The offline voice on its real model files.
#![allow(dead_code, reason = "each test uses its own part")]

use crate::common::speech::models;
use offhook::providers::local::hibari::{Hibari, Sentence};
use offhook::providers::local::runtime::Runtime;
use ort::ep;
use ort::session::Session;
use std::path::Path;

/// Loads the voice from `dir`, which may lack files; the runtime comes from the checked models.
pub fn load_from(dir: &Path) -> Result<Hibari, offhook::providers::local::hibari::VoiceError> {
    let runtime = Runtime::open(&models().onnxruntime()).expect("the runtime opens");
    let open = move |model: &[u8]| {
        Session::builder(runtime.environment())?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_memory_pattern(false)?
            .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
            .commit_from_memory(model)
    };
    Hibari::load(dir, Box::new(open))
}

/// The voice; ends the test with the command that fetches the models when there are none.
pub fn hibari() -> Hibari {
    load_from(&models().hibari()).expect("the voice loads")
}

/// Everything the voice says of `text`.
pub fn say(voice: &Hibari, text: &str, speed: f32) -> Vec<Sentence> {
    let mut out = Vec::new();
    let mut keep = |sentence| {
        out.push(sentence);
        true
    };
    voice.synthesize(text, speed, &mut keep).expect("the voice speaks");
    out
}

/// The sentences of `tests/data/sentences.txt`.
pub fn receptionist() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sentences.txt");
    let text = std::fs::read_to_string(file).expect("the sentences travel with the source");
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_owned).collect()
}
