# The models: whole channels under loom (every schedule) and shuttle (random ones); then each fault of src/fault.rs,
# which a model must detect.

.PHONY: model

model:
	scripts/model.sh
