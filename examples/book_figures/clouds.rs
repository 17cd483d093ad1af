use std::error::Error;
use std::path::Path;

use burn_revision::alignment::{ReAlignConfig, align_table};
use burn_revision::embedding::{NonFinite, read_table};
use burn_revision::geometry::{Cloud, Spectrum};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{IMAGE, INK, TEXT};

/// Points of each cloud that are drawn: enough to show its form.
const DRAWN: usize = 500;

/// The embeddings in `examples/clipart`, and a plane to see them in.
pub struct Clouds {
    text: Cloud,
    image: Cloud,
    /// The direction of the gap, and the direction across it in which both vary most.
    plane: [Vec<f64>; 2],
    /// The text rows after each step of ReAlign.
    steps: Vec<(&'static str, Cloud)>,
}

impl Clouds {
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clipart");
        let tables =
            ["texts", "images"].map(|name| read_table(folder.join(format!("encoder_{name}.safetensors"))));
        let [text_table, image_table] = tables;
        let (text_table, image_table) = (text_table?, image_table?);
        let (text, image) = (Cloud::unit(&text_table, "text")?, Cloud::unit(&image_table, "image")?);

        let gap: Vec<f64> = image.mean().iter().zip(text.mean()).map(|(x, y)| x - y).collect();
        let gap = unit(gap);
        let both: Vec<f64> = text.covariance().iter().zip(image.covariance()).map(|(a, b)| a + b).collect();
        let spectrum = Spectrum::of(&both, text.dim(), text.len())?;
        let leading = spectrum.eigenvector(0).expect("all directions were asked for");
        let along = dot(leading, &gap);
        let across = unit(leading.iter().zip(&gap).map(|(v, g)| v - along * g).collect());

        let realign = ReAlignConfig::new().fit(&text_table, &image_table)?;
        let (mu_y, mu_x) = (text.mean(), image.mean());
        let moved = |map: &dyn Fn(f64, usize) -> f64| {
            let values = text.rows().flat_map(|row| {
                row.iter().enumerate().map(|(k, value)| map(*value, k)).collect::<Vec<f64>>()
            });
            Cloud::new(values.collect(), text.dim())
        };
        let anchor = moved(&|value, k| value - mu_y[k] + mu_x[k])?;
        let trace = moved(&|value, k| mu_x[k] + realign.scale() * (value - mu_y[k]))?;
        let device = burn::tensor::Device::default();
        let aligned = Cloud::of(&align_table(&realign, &text_table, NonFinite::Error, 0, &device)?.0)?;
        let steps = vec![
            ("as they are", text.clone()),
            ("anchor", anchor),
            ("trace", trace),
            ("centroid, on the sphere", aligned),
        ];
        Ok(Self { text, image, plane: [gap, across], steps })
    }

    pub fn draw_gap(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let area = SVGBackend::new(path, (640, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        self.panel(&area, "captions and pictures", &self.text)?;
        Ok(area.present()?)
    }

    pub fn draw_steps(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let area = SVGBackend::new(path, (840, 640)).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, (title, text)) in area.split_evenly((2, 2)).iter().zip(&self.steps) {
            self.panel(panel, title, text)?;
        }
        Ok(area.present()?)
    }

    fn panel(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        title: &str,
        text: &Cloud,
    ) -> Result<(), Box<dyn Error>> {
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 16).into_font().color(&INK))
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(44)
            .build_cartesian_2d(-0.6..0.7, -0.75..0.85)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().x_labels(5).y_labels(5).axis_style(INK);
        mesh.x_desc("along the gap")
            .y_desc("across it")
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .draw()?;
        for (cloud, colour) in [(&self.image, IMAGE), (text, TEXT)] {
            let stride = cloud.len().div_ceil(DRAWN);
            let points = cloud.rows().step_by(stride).map(|row| self.place(row));
            chart.draw_series(points.map(|at| Circle::new(at, 2, colour.mix(0.45).filled())))?;
        }
        for (cloud, colour, name) in [(&self.image, IMAGE, "pictures"), (text, TEXT, "captions")] {
            let at = self.place(&cloud.mean());
            chart.draw_series([
                Circle::new(at, 6, colour.filled()),
                Circle::new(at, 6, WHITE.stroke_width(2)),
            ])?;
            chart.draw_series([Text::new(
                format!("mean of {name}"),
                (at.0 - 0.12, if name == "pictures" { 0.72 } else { 0.62 }),
                ("sans-serif", 13).into_font().color(&colour),
            )])?;
        }
        Ok(())
    }

    fn place(&self, row: &[f64]) -> (f64, f64) {
        (dot(row, &self.plane[0]), dot(row, &self.plane[1]))
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(vector: Vec<f64>) -> Vec<f64> {
    let norm = dot(&vector, &vector).sqrt();
    vector.into_iter().map(|value| value / norm).collect()
}
