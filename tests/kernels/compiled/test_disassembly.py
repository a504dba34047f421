"""Machine code is counted right: lines of real disassemblies, each with the class that it must count as."""

import pytest

from xaimed_kernels.disassembly import CLASSES, count_amdgcn, count_sass

# cuobjdump -sass of gradient_maps_kernel for sm_75 and sm_100, and of sweep_image_kernel for sm_90
SASS = {
    "        /*0000*/                   MOV R1, c[0x0][0x28] ;     /* 0x00000a0000017a02 */": "other",
    "        /*0010*/                   IABS R4, c[0x0][0x19c] ;   /* 0x0000670000047a13 */": "integer",
    "        /*0030*/                   ULDC UR14, c[0x0][0x19c] ; /* 0x00006700000e7ab9 */": "constant",
    "        /*0150*/                   USHF.R.S32.HI UR8, URZ, 0x1f, UR4 ;": "integer",
    "        /*0220*/                   I2F.RP R0, UR15 ;          /* 0x0000000f00007d06 */": "conversion",
    "        /*0250*/                   MUFU.RCP R0, R0 ;          /* 0x0000000000007308 */": "special",
    "        /*05f0*/              @!P4 BRA 0x2bd0 ;               /* 0x000025d00000c947 */": "branch",
    "        /*0200*/               @P0 EXIT ;                     /* 0x000000000000094d */": "branch",
    "        /*0cc0*/              @!P2 LDG.E.128.SYS R32, [R72] ; /* 0x000000004820a381 */": "global_load 128",
    "        /*01e0*/                   LDG.E R2, desc[UR4][R2.64] ;": "global_load 32",
    "        /*2370*/              @!P4 LDG.E.U8 R32, desc[UR4][R20.64] ;": "global_load 8",
    "        /*2ea0*/                   STG.E.128.SYS [R3.U32+UR4], R60 ;": "global_store",
    "        /*10b0*/                   STS [R2], R87 ;            /* 0x0000005702007388 */": "shared_store",
    "        /*10e0*/                   LDS.U R86, [R84] ;         /* 0x0000000054567984 */": "shared_load",
    "        /*0e00*/                   BAR.SYNC 0x0 ;             /* 0x0000000000007b1d */": "barrier",
    "        /*0f00*/                   SHFL.BFLY PT, R87, R88, 0x10, 0x1f ;": "shuffle",
    "        /*0d50*/                   FADD2 R56, R32.F32x2.HI_LO, R34.F32x2.HI_LO ;": "float",
    "        /*25b0*/                   FFMA R38, R26, R38, -R5 ;  /* 0x000000261a267223 */": "fma",
}
AMDGCN = {
    "\ts_load_dwordx2 s[2:3], s[0:1], 0x0": "constant",
    "\ts_waitcnt lgkmcnt(0)": "other",
    "\ts_cbranch_scc1 .LBB0_15": "branch",
    "\ts_abs_i32 s17, s16": "integer",
    "\tv_cvt_f32_u32_e32 v1, s0": "conversion",
    "\tv_rcp_f32_e32 v1, v1": "special",
    "\tv_mul_f32_e32 v1, 0x4f7ffffe, v1": "float",
    "\tv_fmac_f32_e32 v2, 2.0, v17": "fma",
    "\tv_pk_fma_f32 v[58:59], v[24:25], v[32:33], v[58:59]": "fma",
    "\tv_mov_b32_dpp v54, v52 row_shr:8 row_mask:0xf bank_mask:0xf bound_ctrl:1": "shuffle",
    "\tglobal_load_dwordx4 v[28:31], v[26:27], off": "global_load 128",
    "\tglobal_load_dword v9, v[8:9], off": "global_load 32",
    "\tglobal_load_ubyte v27, v[2:3], off": "global_load 8",
    "\tbuffer_store_dwordx4 v[20:23], v24, s[4:7], 0 offen": "global_store",
    "\tds_write_b32 v42, v52": "shared_store",
    "\tds_read_b32 v55, v41": "shared_load",
    "\ts_barrier": "barrier",
}
AROUND = "\t.loc\t1 19 0 prologue_end             ; kernel.py:19:0\n.LBB0_0:\n        Function : gradient_maps_kernel\n"


@pytest.mark.parametrize(("count", "lines"), [(count_sass, SASS), (count_amdgcn, AMDGCN)])
def test_each_instruction_falls_into_its_class(count, lines):
    for line, expected in lines.items():
        name, _, bits = expected.partition(" ")
        found = count(AROUND + line + "\n")
        assert dict(found.classes) == {name: 1}, line
        assert dict(found.load_bits) == ({int(bits): 1} if bits else {}), line


@pytest.mark.parametrize(("count", "lines"), [(count_sass, SASS), (count_amdgcn, AMDGCN)])
def test_every_instruction_is_counted_once(count, lines):
    found = count(AROUND + "\n".join(lines))
    assert sum(found.classes.values()) == len(lines)
    assert sum(found.load_bits.values()) == found.classes["global_load"]
    assert list(found.classes) == [name for name in CLASSES if name in found.classes]


@pytest.mark.parametrize(
    ("opcode", "name"),
    [
        ("HMMA.16816.F32.BF16", "mma"),
        ("HFMA2.MMA", "fma"),
        ("STL.128", "local"),
        ("ATOMG.E.MAX", "atomic"),
        ("DFMA", "double"),
        ("LDGSTS.E.BYPASS.128", "global_load"),
    ],
)
def test_rare_instructions_of_nvidia_have_their_class(opcode, name):
    assert dict(count_sass(f"        /*0010*/    {opcode} R1, R2, R3 ;").classes) == {name: 1}


@pytest.mark.parametrize(
    ("opcode", "name"),
    [
        ("v_mfma_f32_32x32x8_bf16_1k", "mma"),
        ("scratch_store_dword", "local"),
        ("global_atomic_smax", "atomic"),
        ("ds_max_i32", "atomic"),
        ("v_fma_f64", "double"),
        ("ds_bpermute_b32", "shuffle"),
    ],
)
def test_rare_instructions_of_amd_have_their_class(opcode, name):
    assert dict(count_amdgcn(f"\t{opcode} v1, v2\n").classes) == {name: 1}
