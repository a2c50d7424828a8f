"""Keras Hub's networks as tiny random ones: overrides of those that config describes, presets of those that a preset does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_BLOCKS = ("model.num_layers=2", "model.num_heads=2", "model.hidden_dim=8", "model.weights=null")
_DENSE = (*_BLOCKS, "model.intermediate_dim=16")

# An option of each network, and of each of its variants, with what makes it tiny.
DESCRIBED: dict[str, tuple[str, ...]] = {
    "vit_tiny": (*_BLOCKS, "model.mlp_dim=16", "model.image_size=[32,48]"),
    "vit_base": (*_BLOCKS, "model.mlp_dim=16", "model.image_size=32"),
    "deit_base": (*_DENSE, "model.image_size=32"),
    "swin_tiny": (
        *("model.embed_dim=8", "model.depths=[2,2]", "model.num_heads=[2,2]", "model.window_size=2"),
        *("model.image_size=[16,24]", "model.weights=null"),
    ),
    "dinov2_base": (*_DENSE, "model.image_size=28"),
    "dinov2_with_registers_giant": (*_DENSE, "model.image_size=42"),
    "dinov3_base": (*_DENSE, "model.image_size=48"),
    "dinov3_small_plus": (*_DENSE, "model.image_size=32"),
    "siglip_base": (*_DENSE, "model.image_size=32"),
    "clip_base": (*_DENSE, "model.image_size=32"),
}

_STAGES = {"stackwise_num_blocks": [1, 1], "stackwise_num_filters": [64, 64], "stackwise_num_strides": [1, 2]}
# Arguments of each convolutional network's class, by option.
CONVOLUTIONAL: dict[str, dict[str, Any]] = {
    "hub_resnet": {
        **_STAGES,
        **{"input_conv_filters": [64], "input_conv_kernel_sizes": [3], "block_type": "basic_block"},
    },
    "hub_densenet": {"stackwise_num_repeats": [1, 1], "compression_ratio": 0.5, "growth_rate": 4},
    "hub_vgg": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [4, 4]},
    "hub_xception": {"stackwise_conv_filters": [[4, 4], [4, 4]], "stackwise_pooling": [True, False]},
    "hub_mobilenet": {
        "stackwise_expansion": [[8], [16]],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [8]],
        "stackwise_kernel_size": [[3], [3]],
        "stackwise_num_strides": [[2], [1]],
        "stackwise_se_ratio": [[None], [0.25]],
        "stackwise_activation": [["relu"], ["hard_swish"]],
        "stackwise_padding": [[1], [1]],
        "output_num_filters": 16,
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "last_layer_filter": 16,
    },
    "hub_efficientnet": {
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 8],
        "stackwise_expansion_ratios": [1, 4],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["v1", "v1"],
        "stackwise_force_input_filters": [0, 0],
        "stackwise_nores_option": [False, False],
    },
    "hgnetv2": {
        "depths": [1, 1],
        "embedding_size": 8,
        "hidden_sizes": [16, 16],
        "stem_channels": [3, 8, 8],
        "hidden_act": "relu",
        "use_learnable_affine_block": False,
        "stackwise_stage_filters": [[8, 8, 16, 1, 1, 3], [16, 8, 16, 1, 1, 3]],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, False],
    },
    "cspnet": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 1],
        "stackwise_strides": [2, 2],
        "stackwise_num_filters": [8, 16],
        "block_type": "dark_block",
        "stage_type": "csp",
        "bottle_ratio": [0.5, 1.0],
        "block_ratio": [1.0, 0.5],
        "expand_ratio": [2.0, 1.0],
        "stem_padding": "same",
        "down_growth": True,
    },
    "mobilenetv5": {
        "stackwise_block_types": [["er"], ["uir"]],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_filters": [[8], [16]],
        "stackwise_strides": [[2], [2]],
        "stackwise_act_layers": [["relu"], ["relu"]],
        "stackwise_exp_ratios": [[4.0], [6.0]],
        "stackwise_se_ratios": [[0.0], [0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5]],
        "stackwise_dw_start_kernel_sizes": [[0], [0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0]],
        "stackwise_exp_kernel_sizes": [[3], [0]],
        "stackwise_pw_kernel_sizes": [[1], [0]],
        "stackwise_num_heads": [[0], [0]],
        "stackwise_key_dims": [[0], [0]],
        "stackwise_value_dims": [[0], [0]],
        "stackwise_kv_strides": [[0], [0]],
        "stackwise_use_cpe": [[False], [False]],
        "use_msfa": False,
    },
    "mit": {
        "layerwise_depths": [1, 1],
        "num_layers": 2,
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [2, 1],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
        "hidden_dims": [8, 16],
    },
}


def preset(option: str, folder: Path, side: int = 64) -> Path:
    """A preset of a convolutional network, saved as Keras Hub saves one."""
    from framework.core import registry
    from framework.core.keras_hub_private import load_hub

    kind = registry.get("base", option).details["backbone"].kind
    shape = "input_shape" if option == "hub_efficientnet" else "image_shape"
    network = getattr(load_hub().models, kind)(**CONVOLUTIONAL[option], **{shape: (side, side, 3)})
    network.save_to_preset(str(folder))
    return folder


def overrides(option: str, folder: Path) -> tuple[str, ...]:
    """What makes an option a tiny random network, with a preset in this folder if it needs one."""
    if option in DESCRIBED:
        return (f"model={option}", *DESCRIBED[option])
    made = folder if (folder / "config.json").is_file() else preset(option, folder)
    return (f"model={option}", f"model.preset={made}", "model.weights=null", "model.image_size=64")
