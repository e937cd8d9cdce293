// Four numbers of `s_tile`, in which results of cooperative matrices lie: scalars for Metal, vectors for Vulkan.
#ifdef SCALAR
fn put_s(at: u32, value: vec4<f32>) {
#for i in 0..4
    s_tile[4u * at + $iu] = value[$i];
#endfor
}

fn staged(at: u32) -> vec4<f32> {
    return vec4<f32>(s_tile[4u * at], s_tile[4u * at + 1u], s_tile[4u * at + 2u], s_tile[4u * at + 3u]);
}
#else
fn put_s(at: u32, value: vec4<f32>) { s_tile[at] = value; }
fn staged(at: u32) -> vec4<f32> { return s_tile[at]; }
#endif
