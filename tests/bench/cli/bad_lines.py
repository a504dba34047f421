"""What users type wrongly: the arguments, the exit code, and what the answer says."""

# ruff: noqa: E501 # a table: one row a line

BAD = """
| argv                                                    | exit | words in the message                            |
| benches                                                 | 2 | no command 'benches'; bench, report, compare, history, trial |
| --versions                                              | 2 | no command '--versions'                            |
| bench                                                   | 2 | required: --model, --json; xaimed bench --help     |
| bench --model resnet18                                  | 2 | required: --json                                   |
| bench --model '' --json o.json                          | 2 | --model; nothing given                             |
| bench --model resnet18 --json folder                    | 2 | --json; folder is a folder                         |
| bench --model resnet18 --json -                         | 2 | --json -: give the name of a file                  |
| bench --model resnet18 --json run.json/x.json           | 2 | run.json is a file, not a folder                   |
| bench --model resnet --json o.json                      | 2 | no network is called 'resnet'; timm:NAME; package.module:function |
| bench --model timm:none --json o.json                   | 2 | timm has no network 'none'                         |
| bench --model none:build --json o.json                  | 2 | none:build cannot be imported; package.module:function |
| bench --model json:none --json o.json                   | 2 | json:none cannot be imported                       |
| bench --model json:loads --json o.json                  | 2 | json:loads raised TypeError                        |
| bench --model resnet18 --checkpoint none.pt --json o.json | 2 | no checkpoint at none.pt                         |
| bench --model resnet18 --checkpoint run.json --json o.json | 2 | run.json is text                                |
| bench --model resnet18 --methods cam --json o.json      | 2 | --methods: no 'cam'; gradcam                       |
| bench --model resnet18 --methods , --json o.json        | 2 | --methods: nothing given; gradcam                  |
| bench --model resnet18 --batch 0 --json o.json          | 2 | --batch; 1 at least                                |
| bench --model resnet18 --size 8 --json o.json           | 2 | --size; 16 at least                                |
| bench --model resnet18 --budget 0 --json o.json         | 2 | --budget; 1 at least                               |
| bench --model resnet18 --device cuda --json o.json      | 2 | --device cuda: give cpu                            |
| report                                                  | 2 | required: file; xaimed report --help               |
| report none.json                                        | 2 | none.json: No such file                            |
| report folder                                           | 2 | folder: Is a directory                             |
| report run.json/x.json                                  | 2 | x.json: Not a directory                            |
| report nothing.json                                     | 2 | nothing.json: not JSON, or cut short               |
| report bytes.json                                       | 2 | bytes.json: not a text file                        |
| report list.json                                        | 2 | list.json: its top level is not an object          |
| report deep.json                                        | 2 | deep.json: not JSON                                |
| report floor.json                                       | 2 | floor.json: this is a machine's floor; --floor-file |
| report future.json                                      | 2 | newer xaimed; upgrade                              |
| report halves.json                                      | 2 | halves.json: not JSON                              |
| report huge.json                                        | 2 | huge.json; whole number below 2^63                 |
| report nothing.jsonl                                    | 2 | nothing.jsonl: not a journal                       |
| report run.json extra.json                              | 2 | unrecognized arguments: extra.json                 |
| report run.json --nothing                               | 2 | unrecognized arguments: --nothing                  |
| report run.json --html                                  | 2 | --html; expected one argument                      |
| report run.json --html folder                           | 2 | --html; folder is a folder; name of a file         |
| report run.json --html ''                               | 2 | --html; nothing given                              |
| report run.json --html run.json                         | 2 | run.json is given twice                            |
| report run.json --html nothing.json/x.html              | 2 | nothing.json is a file, not a folder               |
| report run.json --html /dev/full                        | 2 | /dev/full: No space left                           |
| report loop                                             | 2 | loop: Too many levels of symbolic links            |
| report run.json --html loop                             | 2 | --html; loop is a link that leads to itself        |
| report run.json --export otava loop                     | 2 | loop is a link that leads to itself                |
| compare loop run.json                                   | 2 | loop: Too many levels of symbolic links            |
| compare run.json run.json --markdown loop               | 2 | --markdown; loop is a link that leads to itself    |
| history add run.json --file loop                        | 2 | --file; loop is a link that leads to itself        |
| history show --file loop                                | 2 | --file; loop is a link that leads to itself        |
| bench --model resnet18 --json loop                      | 2 | --json; loop is a link that leads to itself        |
| report run.json --html p.html --profile none.json       | 2 | none.json: No such file                            |
| report run.json --html p.html --profile run.json        | 2 | run.json: this is a stored run; xaimed profile     |
| report run.json --html p.html --profile list.json       | 2 | list.json: its top level                           |
| report run.json --html p.html --markdown p.html         | 2 | p.html is given twice                              |
| report run.json --profile card.json                     | 2 | --profile belongs to --html                        |
| report run.json --no-images                             | 2 | --no-images belongs to --html                      |
| report run.json --section all                           | 2 | --section belongs to --markdown                    |
| report run.json --section in-short --markdown -         | 2 | --section in-short is for evaluations              |
| report run.json --section none --markdown -             | 2 | --section; invalid choice: 'none'                  |
| report run.json --section tradeoff --markdown -         | 2 | holds no AblationCAM; bench_tradeoff.py            |
| report run.json --markdown folder                       | 2 | --markdown; folder is a folder                     |
| report run.json --export bencher                        | 2 | --export; expected 2 arguments                     |
| report run.json --export nyrkio x.json                  | 2 | no format 'nyrkio'; bencher                        |
| report run.json --export bencher folder                 | 2 | folder is a folder; name of a file                 |
| report run.json --export bencher run.json               | 2 | run.json is given twice                            |
| report norows.json --export bencher x.json              | 2 | no row of xaimed                                   |
| report card.json --export bencher x.json                | 2 | card.json is a profile card; no --export           |
| data                                                    | 2 | required: FOLDER; xaimed data --help               |
| data none                                               | 2 | none                                               |
| data run.json                                           | 2 | run.json; folder                                   |
| data folder                                             | 2 | no image in folder                                 |
| data folder --drop-leaks all                            | 2 | --drop-leaks; invalid choice: 'all'                |
| data folder --workers -1                                | 2 | --workers                                          |
| data folder --seed x                                    | 2 | --seed                                             |
| compare                                                 | 2 | give two stored runs, or --base REV                |
| compare run.json                                        | 2 | give two stored runs                               |
| compare run.json run.json run.json                      | 2 | give two stored runs                               |
| compare run.json run.json --base main                   | 2 | give two stored runs                               |
| compare --base main --floor                             | 2 | give two stored runs                               |
| compare --base ''                                       | 2 | --base; nothing given                              |
| compare --base main --only ''                           | 2 | --only; nothing given                              |
| compare --base main --runs 5                            | 2 | --runs; '5' given; 6 at least                      |
| compare --base main --runs -6                           | 2 | --runs; 6 at least                                 |
| compare --base main --runs many                         | 2 | --runs; 'many' given; whole number                 |
| compare --base main --keep run.json                     | 2 | --keep; run.json is a file, not a folder           |
| compare --base main                                     | 2 | git                                                |
| compare --floor                                         | 2 | git                                                |
| compare --floor --fail-on slower                        | 2 | --fail-on has no meaning for --floor               |
| compare --floor --floor-file folder                     | 2 | folder is a folder                                 |
| compare run.json run.json --confirm                     | 2 | --confirm has no meaning for two stored runs       |
| compare run.json run.json --only xgradcam               | 2 | --only has no meaning for two stored runs          |
| compare none.json run.json                              | 2 | none.json: No such file                            |
| compare run.json folder                                 | 2 | folder: Is a directory                             |
| compare nothing.json nothing.json                       | 2 | nothing.json: not JSON                             |
| compare run.json card.json                              | 2 | card.json: this is a profile card; xaimed report   |
| compare card.json card.json --export x.json             | 2 | --export; two profile cards                        |
| report card.json --html x.html                          | 2 | card.json is a profile card; no --html             |
| compare norows.json norows.json                         | 2 | no row of xaimed is in both; (0 rows)                |
| compare norows.json run.json                            | 2 | no row of xaimed is in both; (0 rows)                |
| compare run.json norows.json                            | 2 | no row of xaimed is in both; (0 rows)                |
| compare run.json other.json                             | 2 | no row of xaimed is in both run.json (2 rows)        |
| compare run.json run.json --fail-on ''                  | 2 | --fail-on; no verdict given; slower                |
| compare run.json run.json --fail-on ,                   | 2 | --fail-on; no verdict given                        |
| compare run.json run.json --fail-on slow                | 2 | --fail-on; no verdict slow; slower                 |
| compare run.json run.json --fail-on alone               | 2 | --fail-on; no verdict alone                        |
| compare run.json run.json --require-judged 80           | 2 | --require-judged; '80' given; e.g. 80%             |
| compare run.json run.json --require-judged 101%         | 2 | --require-judged; '101%' given                     |
| compare run.json run.json --require-judged nan%         | 2 | --require-judged; 'nan%' given                     |
| compare card.json card.json --require-judged 80%        | 2 | --require-judged; two profile cards                |
| compare --floor --require-judged 80%                    | 2 | --require-judged has no meaning for --floor        |
| compare run.json run.json --markdown folder             | 2 | --markdown; folder is a folder                     |
| compare run.json run.json --markdown run.json/x         | 2 | run.json is a file, not a folder                   |
| compare run.json run.json --markdown /proc/none/x.md    | 2 | /proc/none                                         |
| compare run.json run.json --export run.json             | 2 | run.json is given twice                            |
| compare run.json run.json --markdown a --export a       | 2 | a is given twice                                   |
| compare run.json run.json --floor-file none.json        | 2 | none.json: no such file; xaimed compare --floor    |
| compare run.json run.json --floor-file run.json         | 2 | run.json: this is a stored run; compare --floor    |
| compare run.json run.json --floor-file floor.json       | 2 | floor.json; spread and runs must name the same     |
| history                                                 | 2 | required: what                                     |
| history nothing                                         | 2 | invalid choice: 'nothing'; add                     |
| history add                                             | 2 | no run given; history add RUN.json                 |
| history add none.json                                   | 2 | none.json: No such file                            |
| history add card.json                                   | 2 | card.json: this is a profile card                  |
| history add floor.json                                  | 2 | floor.json: this is a machine's floor              |
| history add norows.json                                 | 2 | norows.json; no row of xaimed                      |
| history add run.json --file folder                      | 2 | --file; folder is a folder                         |
| history add run.json --file run.json                    | 2 | run.json: not a history                            |
| history add run.json --figures none.json                | 2 | none.json: No such file                            |
| history check                                           | 2 | no such history; history add                       |
| history check run.json                                  | 2 | takes no file but --file                           |
| history check --factor 1                                | 2 | --factor; '1' given; above 1                       |
| history check --revision x                              | 2 | --revision belongs to xaimed history add           |
| history check --head x                                  | 2 | --head belongs to xaimed history verify            |
| history verify --head ''                                | 2 | --head; nothing given                              |
| history verify --file run.json                          | 2 | run.json: not a history                            |
| history html                                            | 2 | takes the file to write                            |
| history html folder                                     | 2 | folder is a folder                                 |
| history export a.csv b.csv                              | 2 | takes the file to write                            |
| bisect                                                  | 2 | GOOD is missing; xaimed bisect GOOD BAD --only KEY |
| bisect HEAD~1 HEAD                                      | 2 | --only is missing                                  |
| bisect HEAD~1 HEAD --only ''                            | 2 | --only; nothing given                              |
| bisect HEAD~1 HEAD --only x                             | 2 | git rev-parse; not a git repository                |
| bisect HEAD~1 HEAD --only x --runs 5                    | 2 | --runs; 6 at least                                 |
| bisect HEAD~1 HEAD --only x --keep run.json             | 2 | --keep; run.json is a file, not a folder           |
| bisect HEAD~1 HEAD --only x --floor-file none.json      | 2 | none.json: no such file; compare --floor           |
| bisect --resume                                         | 2 | no search was cut short                            |
| bisect --resume --only x                                | 2 | --only has no meaning for --resume                 |
| bisect --resume --abort                                 | 2 | --abort has no meaning for --resume                |
| bisect --resume --keep bad                              | 2 | search.json; good; remove; to forget that search |
| bisect --abort HEAD                                     | 2 | GOOD has no meaning for --abort                    |
| history show --format otava                             | 2 | --format belongs to xaimed history export          |
| trial --at-most -1                                      | 2 | --at-most; 0 at least                              |
| trial --out run.json                                    | 2 | run.json is a file, not a folder                   |
| trial --markdown folder                                 | 2 | --markdown; folder is a folder                     |
| trial --json a --markdown a                             | 2 | a is given twice                                   |
| trial --out runs --json runs/alike-00.json            | 2 | runs/alike-00.json is given twice                  |
| trial --out runs                                      | 2 | alike-00.json: not JSON; remove it; made again                            |
| profile --device cuda                                   | 2 | --device cuda: give cpu; xaimed doctor             |
| profile --device cuda:99                                | 2 | --device cuda:99: give cpu                         |
| profile --device nothing                                | 2 | --device nothing: give cpu                         |
| profile --device meta                                   | 2 | --device meta: give cpu                            |
| profile --device ''                                     | 2 | --device; nothing given                            |
| profile --device cpu --only ''                          | 2 | --only; nothing given                              |
| profile --device cpu --only roofs,nothing               | 2 | --only: no 'nothing'; there are roofs, methods      |
| profile --device cpu --only ,                           | 2 | --only: nothing given; there are roofs              |
| profile --device cpu --out run.json                     | 2 | run.json is a file, not a folder                   |
| profile --accept                                        | 2 | --accept belongs to --static                       |
| profile --static --accept --only gram                   | 2 | leave --only out                                   |
| profile --static --device cpu                           | 2 | leave out what is of one device                     |
| profile --static --out folder                           | 2 | no figures are accepted; --accept                  |
| profile --static --out broken                           | 2 | static.json: not a static profile                  |
| profile --static --out unlike                           | 2 | static.json: not a static profile; figure          |
| kernels none                                            | 2 | no case 'none'; xaimed kernels lists them          |
| kernels ''                                              | 2 | nothing given                                      |
| kernels 'weighted_map none'                             | 2 | no case 'weighted_map none'                        |
| kernels none --multiprocessors 0                        | 2 | --multiprocessors; 1 at least                      |
| kernels none --counts                                   | 2 | --counts takes all bench cases; leave NAME         |
| kernels --accept                                        | 2 | --accept, --only and --out belong to --counts      |
| kernels --counts --accept --only gram                   | 2 | --accept takes all cases; leave --only out         |
| kernels --counts --out folder                           | 2 | no counts are accepted for triton; --accept        |
| kernels --counts --out run.json                         | 2 | run.json is a file, not a folder                   |
| kernels --counts --out broken                           | 2 | counts.json: not a static profile                  |
| data                                                    | 2 | required: FOLDER                                   |
| data none                                               | 2 | no folder at none                                  |
| data run.json                                           | 2 | run.json is a file                                 |
| data folder                                             | 2 | no image in folder                                 |
| data folder --drop-leaks all                            | 2 | --drop-leaks; invalid choice: 'all'; bytes         |
| data folder --json folder                               | 2 | --json; folder is a folder                         |
| data folder --workers -1                                | 2 | --workers; 0 at least                              |
| train                                                   | 2 | required: FOLDER, --model, --out                   |
| train folder --out o                                    | 2 | required: --model                                  |
| train folder --model resnet18                           | 2 | required: --out                                    |
| train folder --model '' --out o                         | 2 | --model; nothing given                             |
| train none --model resnet18 --out o                     | 2 | no folder at none                                  |
| train run.json --model resnet18 --out o                 | 2 | run.json is a file                                 |
| train folder --model resnet18 --out o                   | 2 | no image in folder                                 |
| train folder --model resnet18 --out run.json            | 2 | run.json is a file, not a folder                   |
| train folder --model resnet18 --out o --init ''         | 2 | --init; nothing given                              |
| train folder --model resnet18 --out o --recipe best     | 2 | --recipe; invalid choice: 'best'                   |
| train folder --model resnet18 --out o --freeze head     | 2 | --freeze; invalid choice: 'head'                   |
| train folder --model x --out o --freeze features --lr 1 | 2 | with --freeze; leave --lr out                      |
| train folder --model resnet18 --out o --epochs 0        | 2 | --epochs; 1 at least                               |
| train folder --model resnet18 --out o --batch 1         | 2 | --batch; 2 at least                                |
| train folder --model resnet18 --out o --lr 0            | 2 | --lr; '0' given; a number above 0                  |
| train folder --model resnet18 --out o --lr nan          | 2 | --lr; 'nan' given; a number above 0                |
| train folder --model resnet18 --out o --lr inf          | 2 | --lr; 'inf' given; a number above 0                |
| train folder --model resnet18 --out o --schedule step   | 2 | --schedule; invalid choice: 'step'                 |
| train folder --model resnet18 --out o --size 31         | 2 | --size; 32 at least                                |
| train folder --model resnet18 --out o --seed -1         | 2 | --seed; 0 at least                                 |
| train folder --model resnet18 --out o --validation 1    | 2 | --validation; a number 0 at least and below 1      |
| train folder --model resnet18 --out o --drop-leaks all  | 2 | --drop-leaks; invalid choice: 'all'                |
| train folder --model resnet18 --out o --device nothing  | 2 | --device nothing: give cpu                         |
| train folder --model resnet18 --out o --precision half  | 2 | --precision; invalid choice: 'half'                |
| train folder --model resnet18 --out o --threads 0       | 2 | --threads; 1 at least                              |
| train folder --model resnet18 --out o --keep-every -1   | 2 | --keep-every; a number 0 at least                  |
| evaluate                                                | 2 | required: FOLDER, --out; xaimed evaluate --help    |
| evaluate folder                                         | 2 | required: --out                                    |
| evaluate folder --out out                               | 2 | give --checkpoint FILE; --model NAME               |
| evaluate none --out out --model resnet18                | 2 | no folder at none                                  |
| evaluate run.json --out out --model resnet18            | 2 | run.json is a file                                 |
| evaluate folder --out out --model resnet18              | 2 | no image in folder                                 |
| evaluate folder --out run.json --model resnet18         | 2 | run.json is a file, not a folder                   |
| evaluate folder --out out --batch 0                     | 2 | --batch; 1 at least                                |
| evaluate folder --out out --limit 0                     | 2 | --limit; 1 at least                                |
| evaluate folder --out out --steps 2                     | 2 | --steps; 3 at least                                |
| evaluate folder --out out --size 8                      | 2 | --size; 16 at least                                |
| evaluate folder --out out --threshold 1                 | 2 | --threshold; above 0 and below 1                   |
| evaluate folder --out out --tolerance -1                | 2 | --tolerance; 0 at least                            |
| evaluate folder --out out --seed -1                     | 2 | --seed; 0 at least                                 |
| evaluate folder --out out --split training              | 2 | --split; invalid choice: 'training'; testing       |
| evaluate folder --out out --rename light                | 2 | --rename; 'light' given; CLASS=NAME                |
| evaluate folder --out out --drop-leaks all              | 2 | --drop-leaks; invalid choice: 'all'                |
| evaluate folder --out out --device cuda                 | 2 | --device cuda: give cpu                            |
| doctor everything                                       | 2 | unrecognized arguments: everything                 |
"""
