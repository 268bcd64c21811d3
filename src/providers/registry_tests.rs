use super::*;

fn registry(specs: Vec<ProviderSpec>, key: Option<&'static str>) -> Registry {
    let network = Network::new(&[]).unwrap();
    Registry::new(specs, network, Box::new(move |_| key.map(str::to_owned)), Local::default())
}

fn names(name: &str) -> [String; 1] {
    [name.to_owned()]
}

#[tokio::test]
async fn a_vendor_serves_by_its_own_name_with_the_key_of_its_own_variable() {
    assert!(registry(Vec::new(), Some("k")).language_model(&names("openai"), None).is_ok());
    let error = registry(Vec::new(), None).language_model(&names("openai"), None).err().unwrap();
    assert!(error.reason.contains("OPENAI_API_KEY") && error.reason.contains("key_file"), "{error}");
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_refused_with_those_that_would_do() {
    let registry = registry(Vec::new(), Some("k"));
    let error = registry.language_model(&names("opnai"), None).err().unwrap();
    assert!(error.reason.contains("openai") && !error.reason.contains(LOCAL), "{error}");
    let error = registry.speech_to_text(&names(LOCAL)).err().unwrap();
    assert!(error.reason.contains("not loaded"), "{error}");
}

#[tokio::test]
async fn a_provider_is_made_once_and_its_health_is_one_for_all() {
    let registry = registry(Vec::new(), Some("k"));
    let one = |registry: &Registry| match registry.probe(StageKind::LanguageModel, "openai").unwrap() {
        Probed::Llm(member) => member,
        _ => panic!("another stage"),
    };
    let (first, second) = (one(&registry), one(&registry));
    assert!(Arc::ptr_eq(&first.provider, &second.provider) && Arc::ptr_eq(&first.health, &second.health));
    let used = registry.used();
    assert_eq!(used.iter().map(|used| used.name.as_str()).collect::<Vec<_>>(), ["openai"]);
}

#[tokio::test]
async fn no_error_and_no_listing_shows_a_key() {
    let spec = ProviderSpec { key: Some(Pii::new("sk-secret".into())), ..ProviderSpec::of_vendor("openai") };
    let mut wrong = spec.clone();
    let options = [("no_such_option".to_owned(), serde_json::Value::from(1))].into();
    wrong.stages.insert(StageKind::LanguageModel, StageSpec { options, ..StageSpec::default() });
    let registry = registry(vec![wrong], None);
    let error = registry.language_model(&names("openai"), None).err().unwrap();
    let listing = registry.listing(StageKind::LanguageModel, "openai");
    let said = format!("{error} {error:?} {listing:?} {spec:?}");
    assert!(error.reason.contains("no_such_option") && !said.contains("sk-secret"), "{said}");
}

#[tokio::test]
async fn a_server_of_one_s_own_needs_no_key_and_takes_one() {
    for vendor in ["vllm", "ollama", "llama.cpp"] {
        let mut spec = ProviderSpec::of_vendor(vendor);
        let stage = StageSpec { model: Some("m".into()), ..StageSpec::default() };
        spec.stages.insert(StageKind::LanguageModel, stage);
        let without = registry(vec![spec], None);
        assert!(without.language_model(&names(vendor), None).is_ok(), "{vendor}");
        let listing = without.listing(StageKind::LanguageModel, vendor).unwrap();
        assert!(matches!(listing.key, crate::providers::listing::KeyState::NotNeeded), "{vendor}");
    }
    let mut spec =
        ProviderSpec { url: Some("http://127.0.0.1:9/v1".into()), ..ProviderSpec::of_vendor("openai-compatible") };
    spec.stages.insert(StageKind::LanguageModel, StageSpec { model: Some("m".into()), ..StageSpec::default() });
    assert!(registry(vec![spec], None).language_model(&names("openai-compatible"), None).is_ok());
    let listing = registry(Vec::new(), Some("k")).listing(StageKind::LanguageModel, "vllm").unwrap();
    assert!(matches!(listing.key, crate::providers::listing::KeyState::Environment("VLLM_API_KEY")));
}

#[tokio::test]
async fn a_language_that_the_model_does_not_have_is_refused_with_the_model_that_does() {
    let set_up = |vendor: &str, model: Option<&str>, language: &str| {
        let mut spec = ProviderSpec::of_vendor(vendor);
        let stage =
            StageSpec { model: model.map(str::to_owned), language: Some(language.into()), ..StageSpec::default() };
        spec.stages.insert(StageKind::SpeechToText, stage);
        registry(vec![spec], Some("k")).speech_to_text(&names(vendor)).map_err(|error| error.reason)
    };
    let refused = set_up("deepgram-flux", None, "de-CH").err().unwrap();
    assert!(refused.contains("no `de-CH`") && refused.contains("flux-general-multi"), "{refused}");
    assert!(set_up("assemblyai", None, "fr").err().unwrap().contains("universal-streaming-multilingual"));
    assert!(set_up("deepgram-flux", None, "en-GB").is_ok());
    assert!(set_up("deepgram-flux", Some("flux-general-multi"), "de").is_ok());
    assert!(set_up("deepgram", None, "de").is_ok(), "the vendor knows");
}

#[tokio::test]
async fn what_a_voice_can_do_follows_its_settings() {
    let can = |vendor: &str, voice: &str, options: &[(&str, &str)]| {
        let mut spec = ProviderSpec::of_vendor(vendor);
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let stage = StageSpec { voice: Some(voice.to_owned()), options, ..StageSpec::default() };
        spec.stages.insert(StageKind::TextToSpeech, stage);
        registry(vec![spec], Some("k")).text_to_speech(&names(vendor)).unwrap().capabilities()
    };
    assert!(can("elevenlabs", "v", &[]).wants_speakable_text);
    assert!(!can("elevenlabs", "v", &[("apply_text_normalization", "on")]).wants_speakable_text, "once is enough");
    assert!(can("elevenlabs", "v", &[("apply_text_normalization", "auto")]).wants_speakable_text);
    assert_eq!(can("deepgram", "aura-2-celeste-es", &[]).languages, ["es"]);
    assert_eq!(can("deepgram", "my-own", &[]).languages, [] as [&str; 0], "the vendor knows");
}
