//! The offline voice with its real model files.

use offhook::providers::local::hibari::{Hibari, Sentence, VOICE_RATE};
use ort::session::Session;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn models() -> PathBuf {
    let dir = std::env::var_os("OFFHOOK_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    assert!(
        dir.join("hibari/hibari.onnx").exists() && dir.join("libonnxruntime.so").exists(),
        "no model files in {}: run `make models`, or set OFFHOOK_MODELS to the directory that has them",
        dir.display()
    );
    dir
}

fn hibari(dir: &Path) -> Hibari {
    let environment = ort::init_from(dir.join("libonnxruntime.so")).unwrap().build().unwrap();
    let open = move |model: &[u8]| {
        let session = Session::builder(&environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
        Ok(session.with_memory_pattern(false)?.commit_from_memory(model)?)
    };
    Hibari::load(&dir.join("hibari"), Box::new(open)).unwrap()
}

static VOICE: LazyLock<Hibari> = LazyLock::new(|| hibari(&models()));

fn say(text: &str) -> Vec<Sentence> {
    let mut out = Vec::new();
    VOICE
        .synthesize(text, 1.0, &mut |s| {
            out.push(s);
            true
        })
        .unwrap();
    out
}

#[test]
fn dump() {
    if let Ok(file) = std::env::var("TTS_DUMP") {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            println!("{line}\t{}", VOICE.phonemes(line).unwrap().join(" "));
        }
    }
    let s = say("Hello there. Your appointment is on Nov 24 at 9:30 am.");
    for x in &s {
        println!("{} {:?}", x.samples_24k.len(), x.marks);
    }
    let _ = VOICE_RATE;
    let s = say("Could you spell your last name for me, please?");
    let b: Vec<u8> = s.iter().flat_map(|s| s.samples_24k.iter().flat_map(|x| x.to_le_bytes())).collect();
    std::fs::write("/tmp/ours.f32", b).unwrap();
}
