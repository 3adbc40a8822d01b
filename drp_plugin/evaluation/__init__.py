"""The lmms-eval side: tasks with the paper's protocol, and models that count exactly. `plugin` is
what lmms-eval loads; `task` the task class behind every YAML of `lmms_eval_tasks/`; `student` and
`models` the models; `exchange` what passes between lmms-eval and both; `lmms_private` what
lmms-eval may change."""
