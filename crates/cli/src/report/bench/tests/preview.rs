use super::*;
use ndarray::Array3;
use ndarray_npy::WriteNpyExt;
use rareclip_bench::StageTime;
use rareclip_eval::dataset::{Dataset, Spec};
#[test]
fn preview() {
    let spec: Spec = "mvtec:/work/shared/data/magnetic-tile".parse().unwrap();
    let dataset = Dataset::open(&spec).unwrap();
    let out = PathBuf::from("/tmp/preview");
    let mut runs = Vec::new();
    for (n, (name, shift, ms)) in [
        ("rareclip", 0.5f32, 900.0),
        ("rareclip-int8", 0.48, 400.0),
        ("musc", 0.6, 1900.0),
        ("patchcore@16", 0.3, 350.0),
        ("winclip", 0.2, 4000.0),
        ("anomalydino@1", 0.35, 352.0),
    ]
    .into_iter()
    .enumerate()
    {
        for category in &dataset.categories {
            for seed in [0u64, 1] {
                let mut x = 12345u64 + n as u64 * 77 + seed;
                let mut rnd = || {
                    x = x
                        .wrapping_mul(6364136223846793005)
                        .wrapping_add(1442695040888963407);
                    ((x >> 33) as f32) / (1u64 << 31) as f32
                };
                let imgs: Vec<_> = category
                    .test
                    .iter()
                    .map(|s| {
                        let mut i = image(
                            &s.id,
                            rnd()
                                + rnd()
                                + if s.label == Some(true) {
                                    shift * 1.5
                                } else {
                                    0.0
                                },
                            s.label,
                        );
                        i.defect = s.defect.clone();
                        i
                    })
                    .collect();
                let maps = Array3::from_shape_fn((imgs.len(), 96, 96), |(k, y, xx)| {
                    let d = ((y as f32 - 40.0).powi(2) + (xx as f32 - 50.0).powi(2)).sqrt();
                    (imgs[k].score * (-d / 20.0).exp())
                        + 0.1 * ((y * 7 + xx * 13 + k) % 10) as f32 / 10.0
                });
                let dir = out.join("runs").join(name).join(&category.name);
                std::fs::create_dir_all(&dir).unwrap();
                maps.write_npy(std::fs::File::create(dir.join(format!("seed{seed}.npy"))).unwrap())
                    .unwrap();
                let mut r = run(name, &category.name, seed, imgs);
                r.stages = vec![
                    StageTime {
                        stage: "decode".into(),
                        ms: 5.0,
                    },
                    StageTime {
                        stage: "backbone".into(),
                        ms: ms * 0.8,
                    },
                    StageTime {
                        stage: "bank".into(),
                        ms: ms * 0.2,
                    },
                ];
                r.shots = if name.contains('@') { 16 } else { 0 };
                runs.push(r);
            }
        }
    }
    let mut b = benchmark(runs.clone());
    // a second category, the same again
    let again: Vec<_> = runs
        .into_iter()
        .map(|mut r| {
            r.category = "bottle".into();
            r
        })
        .collect();
    b.runs.extend(again);
    b.categories.push("bottle".into());
    let mut plan = empty_plan(out.clone());
    plan.dataset = dataset;
    let t = std::time::Instant::now();
    std::fs::write("/tmp/preview/report.html", render(&b, &plan, true).unwrap()).unwrap();
    eprintln!("{:?}", t.elapsed());
    std::fs::write("/tmp/preview/report.md", markdown(&b)).unwrap();
}
