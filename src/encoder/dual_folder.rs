//! A dual encoder as a folder that [`PretrainedEncoder`](super::PretrainedEncoder) opens.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{DualEncoder, DualEncoderConfig};
use crate::weights::{self, OwnNames};
use crate::{Error, Result, atomic};

/// The kind of encoder that `config.json` names.
pub(super) const DUAL_MODEL_TYPE: &str = "dual_encoder";

impl DualEncoder {
    /// Writes a folder that [`PretrainedEncoder::open`](super::PretrainedEncoder::open) reads, so that pictures can be embedded
    /// by name and shown to a model later: `model.safetensors`, `preprocessor_config.json` and, last, `config.json`. With a
    /// `tokenizer.json` beside them, that of the training, texts can be embedded as well.
    ///
    /// Pictures are squashed to the size of the image tower, with values from -1 (black) to 1 (white): what they were in training.
    ///
    /// # Arguments
    ///
    /// * `config` - The configuration that the encoder was initialised from.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an encoder of pictures of other than three channels; [`Error::Io`] where a file cannot be written.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, FloatDType};
    /// use burn_revision::encoder::{DualEncoderConfig, ImageTowerConfig, PretrainedEncoder, TextTowerConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let device = Device::default();
    /// let image = ImageTowerConfig::new(vec![16, 32], vec![4, 2], 8);
    /// let config = DualEncoderConfig::new(image, TextTowerConfig::new(100, 16, 32, 1, 4, 8));
    /// let encoder = config.init(&device);
    /// encoder.save_pretrained(&config, folder)?;
    /// let pictures = PretrainedEncoder::open(folder)?.image(FloatDType::F32, &device)?;
    /// assert_eq!((pictures.dim(), pictures.image_size()), (8, 32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_pretrained(&self, config: &DualEncoderConfig, folder: &Path) -> Result<()> {
        if config.image.in_channels != 3 {
            let detail =
                format!("a folder is read for pictures of 3 channels, found {}", config.image.in_channels);
            return Err(Error::config("in_channels", detail));
        }
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let write = |name: &str, value: &Value| {
            let json = serde_json::to_string_pretty(value).expect("a configuration is plain data");
            atomic::write(&folder.join(name), |file| file.write_all(json.as_bytes()))
        };
        weights::write(&folder.join("model.safetensors"), self, &OwnNames)?;
        let side = config.image.image_size;
        write(
            "preprocessor_config.json",
            &json!({
                "do_resize": true, "size": {"height": side, "width": side}, "resample": 3, "do_center_crop": false,
                "do_rescale": true, "rescale_factor": 1.0 / 255.0,
                "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            }),
        )?;
        let mut description = serde_json::to_value(config).expect("a configuration is plain data");
        description["model_type"] = DUAL_MODEL_TYPE.into();
        write("config.json", &description)
    }
}

impl DualEncoderConfig {
    /// The configuration of `config.json`; what is wrong with it otherwise.
    pub(super) fn from_file(mut file: Map<String, Value>) -> Result<Self, String> {
        file.remove("model_type");
        let config: Self =
            serde_json::from_value(Value::Object(file)).map_err(|source| source.to_string())?;
        config.check()?;
        match config.image.in_channels {
            3 => Ok(config),
            other => Err(format!("key \"image\", \"in_channels\": expected 3, found {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

    use super::*;
    use crate::encoder::{ImageTowerConfig, PretrainedEncoder, TextTowerConfig};

    fn saved(folder: &Path) -> DualEncoder {
        let image = ImageTowerConfig::new(vec![16, 32], vec![4, 2], 8).with_image_size(16);
        let config = DualEncoderConfig::new(image, TextTowerConfig::new(5, 6, 16, 1, 2, 8));
        let encoder = config.init(&Device::default());
        encoder.save_pretrained(&config, folder).unwrap();
        let tokenizer = json!({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model":
            {"type": "WordLevel", "vocab": {"?": 0, "a": 1, "red": 2, "blue": 3, "circle": 4}, "unk_token": "?"}});
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        encoder
    }

    /// Rows of both are compared to the bit: nothing may be lost on the way.
    #[test]
    fn a_folder_has_the_embeddings_of_the_encoder_that_wrote_it() {
        let (device, folder) = (Device::default(), tempfile::tempdir().unwrap());
        let encoder = saved(folder.path());
        let opened = PretrainedEncoder::open(folder.path()).unwrap();
        assert!(opened.has_images() && opened.has_texts());

        let images = opened.image(FloatDType::F32, &device).unwrap();
        let pixels: Vec<f32> = (0..2 * 3 * 16 * 16).map(|at| (at % 37) as f32 / 18.0 - 1.0).collect();
        let expected =
            encoder.embed_images(Tensor::from_data(TensorData::new(pixels.clone(), [2, 3, 16, 16]), &device));
        assert_eq!(images.embed(pixels), expected.into_data().try_into_vec::<f32>().unwrap());
        let record = opened.record().unwrap().unwrap();
        assert_eq!((record.dim, record.image_size), (8, 16));
        assert_eq!(record.fingerprint, images.fingerprint());

        let texts = opened.text(FloatDType::F32, &device).unwrap();
        let (found, cut) = texts.embed(&["a red circle", "blue"]).unwrap();
        let tokens = Tensor::<2, Int>::from_data([[1, 2, 4], [3, 0, 0]], &device);
        let padding = Tensor::from_data([[false, false, false], [false, true, true]], &device);
        let expected = encoder.embed_texts(tokens, padding);
        assert_eq!((found, cut), (expected.into_data().try_into_vec::<f32>().unwrap(), 0));
    }

    #[cfg(feature = "image")]
    #[test]
    fn a_picture_is_seen_from_black_to_white() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        let encoder = PretrainedEncoder::open(folder.path())
            .unwrap()
            .image(FloatDType::F32, &Device::default())
            .unwrap();
        for (grey, expected) in [(0, -1.0), (51, -0.6), (255, 1.0)] {
            let picture = image::RgbImage::from_pixel(16, 16, image::Rgb([grey; 3]));
            for value in encoder.processor().process(&picture) {
                approx::assert_abs_diff_eq!(value, expected, epsilon = 1e-6);
            }
        }
    }

    #[test]
    fn a_damaged_folder_says_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        let path = folder.path().join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to, expected) in [
            ("\"in_channels\": 3", "\"in_channels\": 1", "expected 3, found 1"),
            ("\"group_size\": 16", "\"group_size\": 0", "group_size: 0 does not divide"),
            ("\"n_heads\": 2", "\"n_heads\": 3", "3 heads do not divide a width of 16"),
            ("\"image\"", "\"picture\"", "missing field `image`"),
        ] {
            let other = text.replace(from, to);
            assert_ne!(other, text, "{from}");
            std::fs::write(&path, other).unwrap();
            let error = PretrainedEncoder::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains("config.json") && error.contains(expected), "{error}");
        }
        std::fs::write(&path, text.replace("\"d_model\": 16", "\"d_model\": 8")).unwrap();
        let opened = PretrainedEncoder::open(folder.path()).unwrap();
        let error = opened.text(FloatDType::F32, &Device::default()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors") || error.contains("text."), "{error}");
    }
}
