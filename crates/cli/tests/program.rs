//! The program `burn-revision` as somebody at a shell meets it.

mod shell;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn_revision::embedding::{EmbeddingTable, read_table, write_table};
use shell::Shell;

const ALIGN: &str = "align --text text.npy --image image.npy --output";

#[test]
fn align_is_fit_and_apply() {
    let shell = Shell::new();
    let output = shell.run(&format!("{ALIGN} one.npy --stats one.safetensors --verbose"));
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["image: 200 rows", "text: 300 rows", "realign, 32 dimensions", "host (float64", "GB/s"] {
        assert!(text.contains(expected), "{text}");
    }
    shell.run("fit --text text.npy --image image.npy --output two.safetensors --threads 1");
    assert_eq!(shell.bytes("one.safetensors"), shell.bytes("two.safetensors"));
    shell.run("apply --stats two.safetensors --text text.npy --output two.npy");
    assert_eq!(shell.bytes("one.npy"), shell.bytes("two.npy"));
    assert_eq!(read_table(shell.path("one.npy")).unwrap().ids()[299], "text.npy 299");
    let shown = shell.run("stats show one.safetensors --json");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["header"]["counts"]["text"], 300);
    assert_eq!(shown["header"]["version"], 1);
}

#[test]
fn parts_of_many_machines_merge() {
    let shell = Shell::new();
    shell.table("more.npy", 100, 1.0);
    shell.run("fit --moments --text text.npy --image image.npy --output a.safetensors");
    shell.run("fit --moments --text more.npy --output b.safetensors");
    shell.run("stats merge a.safetensors b.safetensors --output moments.safetensors");
    shell.refused(
        "apply --stats moments.safetensors --text text.npy --output x.npy",
        2,
        "0 of 400 text rows",
    );
    shell.run("fit --from moments.safetensors --text text.npy --output c.safetensors");
    shell.run("fit --from moments.safetensors --text more.npy --output d.safetensors");
    let merged = shell.run("stats merge c.safetensors d.safetensors --output whole.safetensors");
    assert!(!String::from_utf8(merged.stdout).unwrap().contains("not ready"));
    shell.run("apply --stats whole.safetensors --text text.npy --output aligned.npy");
    shell.refused("stats merge c.safetensors c.safetensors --output x.safetensors", 3, "centroid pass");
    shell.refused("stats merge a.safetensors text.npy --output x.safetensors", 3, "text.npy");
}

#[test]
fn files_are_converted_back_and_forth() {
    let shell = Shell::new();
    shell.run("convert text.npy there.parquet");
    shell.run("convert there.parquet tensors/ --format safetensors");
    shell.run("convert tensors/there.safetensors back.npy");
    assert_eq!(shell.bytes("back.npy"), shell.bytes("text.npy"));
    assert_eq!(shell.bytes("back.jsonl"), shell.bytes("text.jsonl"));
    shell.run(&format!("{ALIGN} half.npy --dtype f16"));
    shell.run("align --text there.parquet --image image.npy --output aligned.parquet");
    shell.run(&format!("{ALIGN} aligned.npy"));
    let tables =
        ["aligned.parquet", "aligned.npy", "half.npy"].map(|name| read_table(shell.path(name)).unwrap());
    assert_eq!(tables[0], tables[1]);
    for (half, single) in tables[2].rows().iter().zip(tables[1].rows()) {
        assert!((half - single).abs() <= 0.0005, "{half} and {single}");
    }
    shell.refused("convert text.npy bf16.npy --dtype bf16", 2, "bf16");
    shell.refused("convert text.npy text.pkl", 2, ".pkl files are read, and not written");
}

/// As a newcomer would type it: a folder of shards, and no setting.
#[test]
fn anisoalign_aligns_a_folder_of_shards() {
    let shell = Shell::new();
    std::fs::create_dir(shell.path("captions")).unwrap();
    shell.table("captions/one.npy", 150, 1.0);
    shell.table("captions/two.npy", 90, 1.0);
    let settings = "rank = 8\nscore_steps = 20\nrefiner_steps = 20\nbatch = 64\nmixing = \"random\"\n";
    std::fs::write(shell.path("settings.toml"), settings).unwrap();
    let line = "--text captions/ --image image.npy --method anisoalign --settings settings.toml --seed 3";
    let output = shell.run(&format!("align {line} --output aligned/ --stats stats.safetensors"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("text: 240 rows") && text.contains("anisoalign, 32 dimensions"), "{text}");
    let aligned = read_table(shell.path("aligned")).unwrap();
    assert_eq!(aligned.len(), 240);
    for row in 0..240 {
        let norm: f32 = aligned.row(row).iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }
    shell.run("apply --stats stats.safetensors --text captions/ --output again/");
    for shard in ["one.npy", "two.npy"] {
        assert_eq!(shell.bytes(&format!("aligned/{shard}")), shell.bytes(&format!("again/{shard}")));
    }
    let shown = shell.run("stats show stats.safetensors --json");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let method = &shown["header"]["method"];
    assert_eq!(
        (&method["rank"], &method["mixing"], &method["seed"]),
        (&8.into(), &"random".into(), &3.into())
    );

    // In steps, as over several machines.
    shell.run(&format!("fit {line} --moments --output moments.safetensors"));
    shell.refused("apply --stats moments.safetensors --text captions/ --output x/", 2, "not trained");
    shell.refused("fit --from moments.safetensors --text captions/ --output x", 2, "name images");
    shell.run("fit --from moments.safetensors --text captions/ --image image.npy --output whole.safetensors");
    assert_eq!(shell.bytes("whole.safetensors"), shell.bytes("stats.safetensors"));

    std::fs::write(shell.path("settings.toml"), "ranks = 8").unwrap();
    shell.refused(&format!("align {line} --output x/"), 2, "ranks: no setting of anisoalign");
    std::fs::write(shell.path("settings.toml"), "rank = 7").unwrap();
    shell.refused(&format!("align {line} --output x/"), 2, "from 2 to 32, the dimensions, found 7");
    std::fs::write(shell.path("settings.toml"), "rank = 8\nlearning_rate = 0.9\nphase_bound = 3.0e38")
        .unwrap();
    shell.refused(
        "align --text text.npy --image image.npy --settings settings.toml --output x",
        2,
        "anisoalign",
    );
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/embeddings");
    folder.join(name).display().to_string()
}

#[test]
fn a_folder_of_clip_retrieval_is_taken_as_it_is() {
    let shell = Shell::new();
    let folder = fixture("clip_retrieval");
    let line =
        format!("align --text {folder} --image {folder} --method mean-shift --non-finite zero --output");
    let output = shell.run(&format!("{line} numbered/"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("note: ") && told.contains("image_path"), "{told}");
    assert_eq!(read_table(shell.path("numbered")).unwrap().ids()[6], "6");
    let output = shell.run(&format!("{line} named/ --id-column image_path"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("note:"));
    assert_eq!(read_table(shell.path("named")).unwrap().ids()[6], "image 6.jpg");
    let records = String::from_utf8(shell.bytes("named/text_emb_1.jsonl")).unwrap();
    assert!(records.contains("\"caption\":\"caption 6\"") && records.contains("\"width\":640"), "{records}");
    shell.refused(&format!("convert {folder} out/"), 3, "both img_emb and text_emb");
    shell.run(&format!(
        "convert {folder}/img_emb images/ --format parquet --embedding-column x --id-column image_path"
    ));
    let report = shell.run(&format!("convert {folder}/img_emb json/ --json"));
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert!(report["notes"][0].as_str().unwrap().contains("image_path"), "{report}");
}

#[test]
fn files_that_leave_something_open_are_read_with_an_option() {
    let shell = Shell::new();
    let (int8, bf16, shards) = (fixture("int8.npy"), fixture("bfloat16.npy"), fixture("shards"));
    shell.refused(&format!("convert {int8} out.npy"), 3, "`scale`");
    shell.refused(&format!("convert {bf16} out.npy"), 3, "`dtype_in` bf16");
    shell.refused(&format!("convert {shards} out/"), 3, "id \"0\" appears");
    shell.run(&format!("convert {int8} int8.npy --scale 0.125"));
    shell.run(&format!("convert {bf16} bf16.npy --dtype-in bf16 --dtype f32"));
    assert_eq!(shell.bytes("int8.npy"), shell.bytes("bf16.npy"));
    let output = shell.run(&format!("convert {shards} out/ --ids shard"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("note: "), "the empty shard is told");
    assert_eq!(read_table(shell.path("out")).unwrap().ids()[3], "2/0");
    for (name, more) in [
        ("dict.pt", ""),
        ("stored.npz", ""),
        ("saved", ""),
        ("webdataset.tar", ""),
        ("deflated.npz", " --key image"),
    ] {
        let place = if name == "saved" { "saved/".to_string() } else { format!("{name}.npy") };
        shell.run(&format!("convert {} {place} --format npy{more}", fixture(name)));
        assert_eq!(read_table(shell.path(&place)).unwrap().row(6)[3], 5.375, "{name}");
    }
    let (nulls, json) = (fixture("nulls.parquet"), "--non-finite skip --json");
    shell.refused(&format!("convert {nulls} out.npy"), 3, "row 2: null");
    shell.refused(&format!("convert {nulls} out.npy --non-finite zero"), 2, "changes no value");
    let output = shell.run(&format!("convert {nulls} nulls.npy {json}"));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["rows"]["kept"], &report["rows"]["skipped"]), (&6.into(), &1.into()));
    assert_eq!(read_table(shell.path("nulls.npy")).unwrap().ids()[2], "image 3");
    let output = shell.run(&format!("convert {} mended.npy", fixture("sidecar_python.npy")));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("1 lone surrogates read as U+FFFD, 2 NaN or infinities read as null"), "{told}");
}

#[test]
fn what_goes_wrong_has_a_code_and_a_name() {
    let shell = Shell::new();
    std::fs::write(shell.path("broken.npy"), b"\x93NUMPY\x01\x00").unwrap();
    let mut rows = vec![1.0; 64];
    rows[40] = f32::NAN;
    write_table(&EmbeddingTable::numbered(rows, 32).unwrap(), shell.path("nan.npy")).unwrap();
    write_table(&EmbeddingTable::numbered(vec![1.0; 32], 16).unwrap(), shell.path("small.npy")).unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/pickle");
    shell.refused("align --text text.npy", 2, "--image");
    shell.refused(&format!("{ALIGN} out.npy --method rotate"), 2, "realign, mean-shift, c3, c3-zero-mean");
    shell.refused(&format!("{ALIGN} out.npy --sigma 0.1"), 2, "a setting of c3");
    shell.refused(&format!("{ALIGN} text.npy"), 2, "is an input");
    shell.refused(&format!("{ALIGN} image.npy --overwrite"), 2, "is an input");
    shell.refused("align --text broken.npy --image image.npy --output out.npy", 3, "broken.npy");
    shell.refused("align --text small.npy --image image.npy --output out.npy", 3, "expected 32, found 16");
    shell.refused("align --text nan.npy --image image.npy --output out.npy", 3, "nan.npy: row 1, column 8");
    shell.refused("align --text none.npy --image image.npy --output out.npy", 4, "none.npy");
    shell.refused(&format!("{ALIGN} text.npy/out.npy"), 4, "text.npy/out.npy");
    shell.run(&format!("{ALIGN} new/folder/out.npy --quiet"));
    shell.refused("apply --stats text.npy --text text.npy --output out.npy", 3, "text.npy");
    let bomb = corpus.join("bomb_p4.pkl");
    shell.refused(&format!("convert {} out.npy", bomb.display()), 3, "STACK_GLOBAL at byte");
    assert!(!shell.path("out.npy").exists());
    shell.run("align --text nan.npy --image image.npy --output out.npy --non-finite zero --quiet");
}

#[test]
fn help_teaches_and_shells_complete() {
    let shell = Shell::new();
    for line in ["--help", "align --help", "fit --help", "convert --help", "stats merge --help"] {
        let text = String::from_utf8(shell.run(line).stdout).unwrap();
        assert!(text.contains("Usage:"), "{line}");
        assert!(
            line.contains("merge") || text.contains("Example") || text.contains("machine"),
            "{line}: {text}"
        );
    }
    for name in ["bash", "zsh", "fish"] {
        let script = shell.run(&format!("completions {name}")).stdout;
        assert!(String::from_utf8(script).unwrap().contains("centroid-sample"), "{name}");
    }
}

/// Killed without warning, it goes on to the same bytes.
#[test]
fn a_killed_run_goes_on() {
    let shell = Shell::new();
    shell.table("long.npy", 60_000, 1.0);
    shell.run("fit --text long.npy --image image.npy --output s.safetensors --method c3");
    // Noise is drawn for every row, which takes long enough to be killed.
    let line = "apply --stats s.safetensors --text long.npy --threads 1 --quiet --output";
    shell.run(&format!("{line} whole.npy"));
    let mut kills = 0;
    for attempt in 0..50 {
        let mut command = shell.command(&format!("{line} parts.npy --checkpoint 0 --resume"));
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        // Until it has come further than the one before, also on a busy machine.
        let (begun, patience) = (Instant::now(), Duration::from_millis(150 + 40 * attempt));
        while begun.elapsed() < patience && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "attempt {attempt}");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                // It may be killed after its last write as well.
                if shell.path("parts.npy").exists() {
                    let is_whole = shell.bytes("parts.npy") == shell.bytes("whole.npy");
                    assert!(is_whole, "a file that is not complete has its name");
                }
            }
        }
    }
    assert!(kills > 0, "it was too quick to be killed");
    assert_eq!(shell.bytes("parts.npy"), shell.bytes("whole.npy"));
    assert_eq!(shell.bytes("parts.jsonl"), shell.bytes("whole.jsonl"));
}

/// Killed while it trains, again and again, it goes on to the same bytes.
#[test]
fn a_killed_fit_of_anisoalign_goes_on() {
    let shell = Shell::new();
    let settings = "rank = 8\nscore_steps = 150\nrefiner_steps = 150\nbatch = 64\npatience = 20\n";
    std::fs::write(shell.path("settings.toml"), settings).unwrap();
    let line = "align --text text.npy --image image.npy --method anisoalign --settings settings.toml --quiet";
    shell.run(&format!("{line} --output whole.npy --stats whole.safetensors"));
    assert!(!shell.path("whole.npy.fit").exists(), "the state of a fit that is done");
    let parts = format!("{line} --output parts.npy --stats parts.safetensors --checkpoint 0 --resume");
    let (state, mut kills) = (shell.path("parts.npy.fit"), 0);
    loop {
        let before = std::fs::read(&state).ok();
        let mut child = shell.command(&parts).stdout(Stdio::null()).spawn().unwrap();
        // Until it has come further than the one before.
        while std::fs::read(&state).ok() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20 * (1 << kills.min(7))));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if kills == 1 {
            let other = parts.replace("--resume", "--resume --seed 4");
            shell.refused(&other, 3, "parts.npy.fit: another fit: seed was 0, and is 4 now");
        }
    }
    assert!(kills > 0, "it was too quick to be killed");
    for (part, whole) in [("parts.npy", "whole.npy"), ("parts.safetensors", "whole.safetensors")] {
        assert_eq!(shell.bytes(part), shell.bytes(whole), "{part} after {kills} kills");
    }
    assert!(!state.exists());
}

/// A limit on the size of files stands for a disk without room.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_earlier_shards_and_the_rest_can_follow() {
    let shell = Shell::new();
    std::fs::create_dir(shell.path("shards")).unwrap();
    shell.table("shards/0.npy", 100, 1.0);
    shell.table("shards/1.npy", 2000, 1.0);
    shell.run("fit --text shards --image image.npy --output s.safetensors");
    let line = "apply --stats s.safetensors --text shards --output";
    shell.run(&format!("{line} whole"));
    let program = env!("CARGO_BIN_EXE_burn-revision");
    let limited = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f 100; exec {program} {line} parts")])
        .current_dir(shell.folder.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(4), "{error}");
    assert!(error.contains("1.npy") && !error.contains("panicked"), "{error}");
    assert_eq!(shell.bytes("parts/0.npy"), shell.bytes("whole/0.npy"));
    assert!(!shell.path("parts/1.npy").exists());
    shell.run(&format!("{line} parts --resume"));
    assert_eq!(shell.bytes("parts/1.npy"), shell.bytes("whole/1.npy"));
}

/// The figures of arXiv 2602.07026, Table 2 and App. H.4: 0.37 and 0.74 of the pairs, which cost $476.05.
#[test]
fn texts_cost_the_share_of_pairs_that_the_paper_prints() {
    let shell = Shell::new();
    let json = |arguments: &str| -> serde_json::Value {
        serde_json::from_slice(&shell.run(arguments).stdout).unwrap()
    };
    for (arguments, share) in [("cost --json", 0.37), ("cost --texts 2M --json", 0.74)] {
        let found = json(arguments);
        assert!((found["texts"]["share"].as_f64().unwrap() - share).abs() < 0.005, "{found}");
        assert_eq!(format!("{:.2}", found["pairs"]["dollars"].as_f64().unwrap()), "476.05");
    }
    // Prices and counts of one's own: 3,000 times 2 and 5 tokens, at 1 and 10 dollars a million.
    let own = json("cost --texts 3k --text-in 2 --text-out 5 --price-in 1 --price-out 10 --pairs 0 --json");
    assert!((own["texts"]["dollars"].as_f64().unwrap() - 0.156).abs() < 1e-12, "{own}");
    assert!(own["texts"]["share"].is_null());
    let text = String::from_utf8(shell.run("cost").stdout).unwrap();
    assert!(text.contains("$176.05, 0.37 of the pairs"), "{text}");
    shell.refused("cost --price-in=-1", 2, "price of input tokens");
    shell.refused("cost --texts many", 2, "500k");
}
