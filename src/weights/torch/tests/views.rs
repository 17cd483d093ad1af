//! Views of storages: those that are read, and those that lie beyond.

use super::*;

fn view(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    with_storage(&dict(&[tensor("FloatStorage", "0", count, offset, shape, strides)]))
}

#[test]
fn views_are_read_as_what_they_are() {
    for (offset, shape, strides, expected) in [
        (0, &[2, 3][..], &[3, 1][..], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]),
        (0, &[3, 2], &[1, 3], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
        (1, &[2, 2], &[3, 1], &[1.0, 2.0, 4.0, 5.0]),
        (1, &[3], &[2], &[1.0, 3.0, 5.0]),
        (0, &[2, 1, 3], &[3, 99, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (0, &[2, 2], &[1, 2], &[0.0, 2.0, 1.0, 3.0]),
        (4, &[2, 2], &[0, 1], &[4.0, 5.0, 4.0, 5.0]),
        (5, &[], &[], &[5.0]),
        (6, &[0, 4], &[4, 1], &[]),
        (0, &[0, 1 << 40, 1 << 40], &[1, 1 << 40, 1], &[]),
    ] {
        let arrays = read(&view(6, offset, shape, strides)).unwrap();
        assert_eq!(arrays[0].values, expected, "{shape:?} {strides:?}");
        assert_eq!(arrays[0].shape, shape.iter().map(|size| *size as usize).collect::<Vec<_>>());
    }
}

#[test]
fn views_beyond_their_storage_are_refused_before_anything_is_allocated() {
    let most = i64::MAX;
    for (offset, shape, strides, expected) in [
        (0, &[2, 4][..], &[4, 1][..], "expected no more values than the storage has, found shape [2, 4]"),
        (1, &[2, 3], &[3, 1], "expected values within the storage"),
        (0, &[2], &[6], "expected values within the storage"),
        (7, &[0], &[1], "expected values within the storage"),
        (0, &[2], &[most], "expected values within the storage"),
        (most, &[1], &[1], "expected values within the storage"),
        (0, &[2, 2, 1], &[most, most, most], "expected values within the storage"),
        (0, &[1 << 40], &[0], "expected no more values than the storage has"),
        (0, &[most, most], &[0, 0], "expected no more values than the storage has"),
        (0, &[-1, 3], &[3, 1], "expected no negative numbers, found shape [-1, 3]"),
        (0, &[2], &[-1], "expected no negative numbers"),
        (-1, &[2], &[1], "expected no negative numbers"),
        (0, &[2, 3], &[1], "expected as many strides as dimensions and at most 64, found 1 and 2"),
        (0, &[1; 65], &[1; 65], "at most 64, found 65 and 65"),
    ] {
        let error = error_of(&view(6, offset, shape, strides));
        assert!(error.contains(expected) && error.contains("\"0.weight\""), "{error}");
    }
    // What the storage claims to hold is compared with what stands in the file.
    for count in [5, 7, 1 << 40, most, -6] {
        let error = error_of(&view(count, 0, &[2], &[1]));
        let bytes = i128::from(count) * 4;
        let expected = match count {
            -6 => "expected no negative numbers".to_string(),
            _ => format!("expected {bytes} bytes in storage 0, for {count} values of f32, found 24"),
        };
        assert!(error.contains(&expected), "{error}");
    }
    let other = with_storage(&dict(&[tensor("FloatStorage", "1", 6, 0, &[2], &[1])]));
    assert!(error_of(&other).contains("expected an entry data/1 in the archive, found none"));
    let integers = with_storage(&dict(&[tensor("LongStorage", "0", 3, 0, &[3], &[1])]));
    assert!(error_of(&integers).contains("expected type float16, bfloat16, float32 or float64, found int64"));
}

#[test]
fn a_storage_is_shared_within_limits() {
    let names: Vec<u8> = (0..17)
        .flat_map(|layer| {
            join(&[&text(&format!("{}.weight", 2 * layer)), &tensor("FloatStorage", "0", 6, 0, &[6], &[1])])
        })
        .collect();
    let error = error_of(&with_storage(&join(&[b"\x80\x02}(", &names, b"u."])));
    assert!(error.contains("\"32.weight\": expected at most 16 tensors on storage 0"), "{error}");
}

/// A view of a storage of `0, 1, 2, ...`, by the formula.
fn strided(shape: &[usize], strides: &[u64], offset: u64) -> Vec<f32> {
    let mut places = vec![offset];
    for (size, stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|place| (0..*size as u64).map(move |i| place + i * stride)).collect();
    }
    places.into_iter().map(|place| place as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_view_gathers_the_values_of_the_formula(
        dims in proptest::collection::vec((0_usize..4, 0_u64..7), 0..4), offset in 0_u64..5,
    ) {
        let (shape, strides): (Vec<usize>, Vec<u64>) = dims.into_iter().unzip();
        let count = 200;
        let storage = Rc::new(Storage { key: "0".into(), element: Element::Float(FloatType::F32), count });
        let tensor = Tensor {
            storage,
            offset: offset as i64,
            shape: shape.iter().map(|size| *size as i64).collect(),
            strides: strides.iter().map(|stride| *stride as i64).collect(),
        };
        let view = View::of(&tensor).unwrap();
        let stored = (offset..offset + view.reach).map(|value| value as f32).collect();
        prop_assert_eq!(view.gather(stored), strided(&shape, &strides, offset));
    }
}
