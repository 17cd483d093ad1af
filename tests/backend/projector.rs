use burn::module::Module;
use burn::tensor::{Device, TensorData};
use burn_revision::revision::{Projector, ProjectorKind};

use crate::agreement::{assert_products_close, device, random, reference};
use crate::tiny::drawn;

const KINDS: [ProjectorKind; 4] =
    [ProjectorKind::Linear, ProjectorKind::MlpGelu(1), ProjectorKind::MlpGelu(2), ProjectorKind::MlpGelu(3)];

fn projector(kind: ProjectorKind) -> Projector {
    drawn(Projector::init(kind, 24, 32, &reference()).unwrap(), 0.2)
}

#[test]
fn projected_rows_agree() {
    for kind in KINDS {
        let projector = projector(kind);
        let expected = projector.forward(random(9, 24, 1, &reference()));
        let found = projector.to_device(&device()).forward(random(9, 24, 1, &device()));
        assert_products_close(found.into_data(), expected.into_data(), &kind.to_string());
    }
}

#[test]
fn identity_changes_no_bit() {
    let identity = Projector::init(ProjectorKind::Identity, 24, 24, &device()).unwrap();
    let rows = random(9, 24, 2, &device());
    assert_eq!(identity.forward(rows.clone()).into_data(), rows.into_data());
}

/// The gradient of `sum(forward(x)^2)` by every weight and by the rows.
#[test]
fn gradients_agree() {
    fn gradients(projector: Projector, device: &Device) -> Vec<(String, TensorData)> {
        let device = device.clone().autodiff();
        let projector = projector.fork(&device).train();
        let rows = random(9, 24, 3, &device).require_grad();
        let out = projector.forward(rows.clone());
        let grads = (out.clone() * out).sum().backward();
        let mut found = vec![("rows".to_string(), rows.grad(&grads).unwrap().into_data())];
        found.extend(crate::training::gradients(&projector, &grads));
        found
    }
    for kind in KINDS {
        let projector = projector(kind);
        let expected = gradients(projector.clone(), &reference());
        let found = gradients(projector, &device());
        assert_eq!(found.len(), expected.len());
        for ((path, found), (_, expected)) in found.into_iter().zip(expected) {
            assert_products_close(found, expected, &format!("{kind}, {path}"));
        }
    }
}
