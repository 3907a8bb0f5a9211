# The models: whole channels under loom (every schedule) and shuttle (random ones); then each mistake of
# src/fault.rs, which a model must notice.

.PHONY: model

model:
	scripts/model.sh
