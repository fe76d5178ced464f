"""What settings were called elsewhere and before, and what they are called here."""

from __future__ import annotations

# Names that tutorials and older versions use, and what the setting is called here.
OLD_NAMES = {
    "max_seq_length": "[train] max_length",
    "max_train_epochs": "[train] num_train_epochs",
    "epochs": "[train] num_train_epochs",
    "lr": "[train] learning_rate",
    "batch_size": "[train] per_device_train_batch_size",
    "per_gpu_train_batch_size": "[train] per_device_train_batch_size",
    "evaluation_strategy": "[train] eval_steps (validation is always scored at the end of an epoch)",
    "eval_strategy": "[train] eval_steps (validation is always scored at the end of an epoch)",
    "fp16": "[train] bf16",
    "torch_dtype": "[model] dtype",
    "model_name_or_path": "[model] base",
    "dataset_text_field": "[data] input",
    "lora_r": "[lora] r",
    "alpha": "[lora] lora_alpha",
    "dropout": "[lora] lora_dropout",
    "group_by_length": '[train] train_sampling_strategy = "group_by_length"',
    "use_4bit": '[model] quantize = "nf4"',
    "load_in_4bit": '[model] quantize = "nf4"',
    "use_8bit": '[model] quantize = "int8"',
    "load_in_8bit": '[model] quantize = "int8"',
    "use_nested_quant": "[model] bnb_4bit_use_double_quant",
    "bnb_4bit_quant_type": '[model] quantize = "nf4" or "fp4"',
    "label_smoothing": "[train] label_smoothing_factor",
    "adafactor": '[train] optim = "adafactor"',
    "gradient_clipping": "[train] max_grad_norm",
    "scheduler": "[train] lr_scheduler_type",
    "output_dir": "the command line's --out",
}
