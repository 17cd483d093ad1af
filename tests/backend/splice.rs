use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_revision::language::LanguageModel;
use burn_revision::revision::{Batch, Sample};

use crate::agreement::{assert_products_close, device, numbers, random, reference};
use crate::tiny::{DIM, model};

/// A picture in front, one in the middle, one at the end, and no picture; of different lengths.
fn samples() -> Vec<Sample> {
    [
        (vec![3, 4, 5], Some(0)),
        (vec![6, 7, 8, 9, 10], Some(2)),
        (vec![11, 12], Some(2)),
        (vec![13, 14, 15], None),
    ]
    .into_iter()
    .enumerate()
    .map(|(row, (tokens, image_at))| {
        let mut sample = Sample::text("s", tokens);
        sample.image = image_at.map(|_| "p".into());
        sample.image_at = image_at;
        sample.embedding = image_at.map(|_| numbers(3, DIM, 1)[row * DIM..][..DIM].to_vec());
        sample
    })
    .collect()
}

fn batch(device: &Device) -> Batch {
    Batch::new(&samples(), 3, device)
}

#[test]
fn spliced_embeddings_agree() {
    let model = model().to_device(&device());
    let expected = model.clone().to_device(&reference()).splice(&batch(&reference()));
    let found = model.splice(&batch(&device()));
    assert_products_close(found.into_data(), expected.into_data(), "splice");
}

/// Splicing copies: every row is one of the language model's embeddings or one of the projected pictures, to the bit.
#[test]
fn rows_are_copied_to_their_places() {
    let model = model().to_device(&device());
    let spliced: Vec<Tensor<1>> = {
        let spliced = model.splice(&batch(&device()));
        let [rows, time, width] = spliced.dims();
        assert_eq!([rows, time, width], [4, 8, 32]);
        (0..rows * time)
            .map(|row| spliced.clone().reshape([rows * time, width]).slice_dim(0, row..row + 1).squeeze())
            .collect()
    };
    let pictures = model.projector.forward(random(3, DIM, 1, &device()));
    for (row, sample) in samples().into_iter().enumerate() {
        let mut expected: Vec<Tensor<1>> = sample
            .tokens
            .iter()
            .map(|token| {
                let token = Tensor::from_data([[i64::from(*token)]], &device());
                model.language.embed(token).reshape([32])
            })
            .collect();
        if let Some(at) = sample.image_at {
            let picture: Tensor<1> = pictures.clone().slice_dim(0, row..row + 1).squeeze();
            expected.splice(at..at, std::iter::repeat_n(picture, 3));
        }
        for (place, expected) in expected.into_iter().enumerate() {
            let found = spliced[row * 8 + place].clone();
            assert_eq!(found.into_data(), expected.into_data(), "sequence {row}, place {place}");
        }
    }
}

/// A prompt of a picture and nothing else, as for a language model without a token for the beginning.
#[test]
fn a_picture_stands_alone() {
    let model = model().to_device(&device());
    let mut sample = Sample::text("s", Vec::new());
    (sample.image_at, sample.embedding) = (Some(0), Some(numbers(1, DIM, 2)));
    let batch = Batch::new(&[sample], 3, &device());
    let picture = model.projector.forward(random(1, DIM, 2, &device()));
    assert_eq!(model.splice(&batch).into_data(), picture.repeat_dim(0, 3).unsqueeze::<3>().into_data());
}
